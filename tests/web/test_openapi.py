"""The description of the API is true and complete; schemathesis holds it against the service."""

from collections.abc import Callable
from typing import Any

import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, settings
from openapi_spec_validator import validate
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from service.web.errors import ErrorCode
from service.web.openapi import build_document
from service.web.operations import OPERATIONS
from tests.support.serving import Server

DOCUMENT = build_document()
schema = schemathesis.openapi.from_dict(DOCUMENT)
# What breaks a rule of the schema can also be too long for an address or a head.
schema.config.checks.negative_data_rejection.expected_statuses += ["414", "431"]


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_service_does_what_it_says(
    case: schemathesis.Case[Any], app_server: Server, bearer: dict[str, str]
) -> None:
    excluded: list[Any] = []
    if "start" in case.path or "coverage" in case.path:
        # A schema cannot say that date_from has to be before date_to, nor which text is an instant.
        excluded.append(positive_data_acceptance)
    if any(value in (None, [], {}) for value in (case.query or {}).values()):
        # What is empty does not get into the address, so that the service cannot refuse it.
        excluded.append(negative_data_rejection)
    case.call_and_validate(base_url=app_server.url, headers=bearer, excluded_checks=excluded)


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


def test_the_page_is_no_part_of_the_api(app: Flask, make_app: Callable[..., Flask]) -> None:
    with_page = {rule.rule for rule in make_app(sync_page="on").url_map.iter_rules()}
    added = with_page - {rule.rule for rule in app.url_map.iter_rules()}
    assert added == {"/", "/sync-page/config.json", "/sync-page/<path:name>"}


def test_every_error_code_is_described() -> None:
    assert DOCUMENT["components"]["schemas"]["ErrorCode"]["enum"] == [code.value for code in ErrorCode]


def test_every_field_of_a_job_is_described(client: FlaskClient, bearer: dict[str, str]) -> None:
    client.post("/start-historical-sync", headers=bearer)
    answer = client.get("/get-sync-status", headers=bearer).json
    assert answer is not None
    assert list(answer["job"]) == list(DOCUMENT["components"]["schemas"]["Job"]["properties"])


def test_every_error_is_the_answer_of_some_route() -> None:
    assert set(ErrorCode) == {code for operation in OPERATIONS for code in operation.errors}
