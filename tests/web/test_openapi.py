"""The description of the API is true and complete; schemathesis holds it against the service."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, settings
from openapi_spec_validator import validate
from psycopg.rows import dict_row
from schemathesis.specs.openapi.checks import positive_data_acceptance

from service.web.errors import ErrorCode
from service.web.openapi import build_document
from tests.support.database import add_agency, add_user, login_url
from tests.support.serving import run_gunicorn
from tests.support.tokens import JwksServer, Tokens

DOCUMENT = build_document()
schema = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def live(
    create_database: Callable[..., str],
    template: str,
    jwks_server: JwksServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, UUID]]:
    """The URL of a service as it is run, and a user of an agency."""
    url = create_database(template)
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as conn:
        user_id = add_user(conn, add_agency(conn))
    with run_gunicorn(
        tmp_path_factory.mktemp("openapi") / "log",
        DATABASE_URL=login_url(url, "historical_sync_service"),
        SUPABASE_URL=jwks_server.url,
    ) as server:
        yield server.url, user_id


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_service_does_what_it_says(case: schemathesis.Case[Any], live: tuple[str, UUID], tokens: Tokens) -> None:
    url, user_id = live
    headers = {"Authorization": f"Bearer {tokens.sign(sub=str(user_id))}"}
    beyond_schemas: list[Any] = []
    if "start" in case.path:
        # A schema cannot say that date_from has to be before date_to, nor which text is an instant.
        beyond_schemas = [positive_data_acceptance]
    case.call_and_validate(base_url=url, headers=headers, excluded_checks=beyond_schemas)


def test_it_is_valid_openapi_and_served(client: FlaskClient) -> None:
    validate(DOCUMENT)
    assert client.get("/openapi.json").json == DOCUMENT
    assert DOCUMENT["openapi"].startswith("3.1")


def test_every_route_is_described_and_nothing_else(app: Flask) -> None:
    routes = {
        (rule.rule, method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}
    }
    described = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    without_prefix = {(path.removeprefix("/functions/v1"), method) for path, method in described}
    assert routes == described | without_prefix


def test_every_error_code_is_described() -> None:
    assert DOCUMENT["components"]["schemas"]["ErrorCode"]["enum"] == [code.value for code in ErrorCode]


def test_every_field_of_a_job_is_described(client: FlaskClient, bearer: dict[str, str]) -> None:
    client.post("/start-historical-sync", headers=bearer)
    answer = client.get("/get-sync-status", headers=bearer).json
    assert answer is not None
    assert list(answer["job"]) == list(DOCUMENT["components"]["schemas"]["Job"]["properties"])
