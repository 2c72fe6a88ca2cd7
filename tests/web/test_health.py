from collections.abc import Callable

from flask import Flask
from flask.testing import FlaskClient

from tests.support.http_assertions import assert_error


def test_the_process_answers_even_without_a_database(make_app: Callable[..., Flask]) -> None:
    app = make_app(database_url="postgresql://nobody@127.0.0.1:1/none", database_pool_timeout=0.2)

    assert app.test_client().get("/healthz").json == {"status": "ok"}
    assert_error(app.test_client().get("/readyz"), 503, "database_unavailable")


def test_a_process_with_a_database_is_ready(client: FlaskClient) -> None:
    assert client.get("/readyz").json == {"status": "ok"}
