"""The demo's sign-in: where it is, and for whom."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import urllib3
from flask import Flask
from flask.testing import FlaskClient

from service.local import demo_session
from service.local.demo import add_demo_agency
from service.settings import Settings
from tests.support.database import Sql
from tests.support.serving import Serve

ROUTE = "/sync-page/demo-session"
STATUS = "/functions/v1/get-sync-status"
FROM_THE_PAGE = {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}


@pytest.fixture
def demo(make_app: Callable[..., Flask], make_settings: Callable[..., Settings], sql: Sql) -> FlaskClient:
    """A client of the application with the demo's sign-in."""
    add_demo_agency(sql)
    app = make_app()
    demo_session.init_app(app, make_settings())
    return app.test_client()


def test_the_page_gets_a_token_with_which_the_demo_user_calls_the_functions(demo: FlaskClient) -> None:
    session = demo.post(ROUTE, headers=FROM_THE_PAGE)

    assert session.status_code == 200
    assert session.json is not None
    assert session.json.keys() == {"access_token", "expires_at", "email"}
    assert session.json["expires_at"] > time.time() + 3600
    assert session.headers["Cache-Control"] == "no-store"
    status = demo.get(STATUS, headers={"Authorization": f"Bearer {session.json['access_token']}"})
    assert status.json == {"active": False, "recent_job": None}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "none"},
    ],
    ids=["nothing", "origin alone", "another site", "another port", "typed by hand"],
)
def test_whoever_is_not_the_page_finds_nothing(demo: FlaskClient, headers: dict[str, str]) -> None:
    refused = demo.post(ROUTE, headers=headers)

    assert (refused.status_code, (refused.json or {})["code"]) == (404, "not_found")
    assert b"access_token" not in refused.data


def test_no_page_of_another_origin_may_read_the_answer(demo: FlaskClient) -> None:
    answer = demo.post(ROUTE, headers={**FROM_THE_PAGE, "Origin": "https://elsewhere.example"})

    assert not [name for name, _ in answer.headers if name.startswith("Access-Control-")]


def test_it_is_asked_with_post_alone(demo: FlaskClient) -> None:
    assert demo.get(ROUTE, headers=FROM_THE_PAGE).status_code == 405


def test_an_application_without_a_secret_cannot_have_it(
    make_app: Callable[..., Flask], make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(supabase_jwt_secret=None)
    with pytest.raises(ValueError, match="SUPABASE_JWT_SECRET"):
        demo_session.init_app(make_app(), settings)


class TestAsItIsServed:
    @pytest.fixture
    def ask(self, serve: Serve) -> Callable[..., int]:
        def ask(app: str, **environment: str) -> int:
            with serve(app=app, **environment) as server:
                return urllib3.request("POST", server.url + ROUTE, headers=FROM_THE_PAGE, retries=False).status

        return ask

    def test_the_local_stacks_application_has_it(self, ask: Callable[..., int]) -> None:
        assert ask("service.local.demo_app:app") == 200

    def test_the_application_of_production_has_not(self, ask: Callable[..., int]) -> None:
        assert ask("wsgi:app") == 404
        assert ask("wsgi:app", SYNC_PAGE="on") == 405  # as for anything below /sync-page/, which is only read

    def test_production_does_not_start_with_it(self, serve: Serve, tmp_path: Path) -> None:
        with pytest.raises(AssertionError), serve(app="service.local.demo_app:app", APP_ENV="production"):
            pass
        assert "production has no demo user" in (tmp_path / "log").read_text()
