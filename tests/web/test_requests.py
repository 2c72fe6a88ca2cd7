"""What a request brings: which method, token and query parameters are taken, and which are refused by name."""

from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.database import Sql, jobs_of
from tests.support.http_assertions import assert_error
from tests.support.tokens import Tokens

START = "/functions/v1/start-historical-sync"
STATUS, LIST = "/functions/v1/get-sync-status", "/functions/v1/list-sync-jobs"
PUBLIC = {"health.healthz", "health.readyz", "metrics.metrics", "openapi.openapi"}


def functions(app: Flask) -> list[tuple[str, str]]:
    """Method and path of every route that demands a token."""
    guarded = [rule for rule in app.url_map.iter_rules() if rule.endpoint not in PUBLIC]
    assert guarded
    return [(method, rule.rule) for rule in guarded for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}]


def test_every_route_but_the_health_routes_demands_a_token(app: Flask) -> None:
    for method, path in functions(app):
        response = app.test_client().open(path, method=method)
        assert_error(response, 401, "token_missing")
        assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD", "TRACE"])
def test_another_method_is_refused_with_the_methods_that_are_allowed(client: FlaskClient, method: str) -> None:
    response = client.open(START, method=method)

    assert response.status_code == 405
    assert response.headers["Allow"] == "OPTIONS, POST"
    if method != "HEAD":
        body = assert_error(response, 405, "method_not_allowed")
        assert body["error"] == "This method is not allowed here. Use POST."


def test_what_can_be_read_is_refused_to_other_methods_with_the_one_to_use(client: FlaskClient) -> None:
    for path in (STATUS, LIST, "/healthz"):
        response = client.post(path)
        assert assert_error(response, 405, "method_not_allowed")["error"].endswith(" Use GET.")
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("name", ["dateFrom", "job-id", "", "limit ", "ключ", "a\u0000b"])
def test_an_unknown_query_parameter_is_refused_by_name_by_every_function(
    app: Flask, bearer: dict[str, str], sql: Sql, name: str
) -> None:
    for method, path in functions(app):
        response = app.test_client().open(path, method=method, headers=bearer, query_string={name: "1"})
        assert_error(response, 400, "invalid_fields", fields=[name])
    assert jobs_of(sql) == []


@pytest.mark.parametrize(("path", "query"), [(STATUS, "job_id"), (LIST, "limit"), (LIST, "before")])
def test_a_parameter_that_is_given_twice_is_refused_by_name(
    client: FlaskClient, bearer: dict[str, str], path: str, query: str
) -> None:
    response = client.get(f"{path}?{query}=1&{query}=1", headers=bearer)
    assert_error(response, 400, "invalid_fields", fields=[query])


def test_every_bad_parameter_is_named_at_once(client: FlaskClient, bearer: dict[str, str]) -> None:
    response = client.get(f"{LIST}?limit=0&before={uuid4()}&before=&jobId=1&jobId=2", headers=bearer)
    body = assert_error(response, 400, "invalid_fields", fields=["limit", "before", "jobId"])
    assert body["fields"]["before"] == "is given more than once"
    assert body["fields"]["jobId"] == "is not a known parameter"


def test_the_region_that_supabase_js_adds_to_the_address_is_passed_over(
    app: Flask, bearer: dict[str, str], sql: Sql
) -> None:
    region = "forceFunctionRegion=eu-west-1"
    assert app.test_client().post(f"{START}?{region}", headers=bearer).status_code == 200
    [job] = jobs_of(sql)
    status = app.test_client().get(f"{STATUS}?job_id={job['id']}&{region}", headers=bearer)
    assert status.status_code == 200


@pytest.mark.parametrize("path", ["/", "/nowhere", f"{START}/", f"/{START}", "/functions/v1/", "/%ff", "/%00"])
def test_an_unknown_path_is_not_found(client: FlaskClient, path: str) -> None:
    assert_error(client.post(path), 404, "not_found")


@pytest.mark.parametrize("authorization", [None, "", "Basic dTpw", "Bearer", "Bearer   ", "Token abc"])
def test_without_a_bearer_token_the_challenge_names_no_error(client: FlaskClient, authorization: str | None) -> None:
    response = client.post(START, headers={} if authorization is None else {"Authorization": authorization})

    assert_error(response, 401, "token_missing")
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("authorization", ["Bearer abc", "bearer a.b.c", "BEARER two words"])
def test_a_token_that_is_not_accepted_is_challenged_as_invalid(client: FlaskClient, authorization: str) -> None:
    response = client.post(START, headers={"Authorization": authorization})

    assert_error(response, 401, "token_invalid")
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_an_expired_token_is_told_apart(client: FlaskClient, tokens: Tokens) -> None:
    response = client.post(START, headers={"Authorization": f"Bearer {tokens.sign(exp=1)}"})

    assert_error(response, 401, "token_expired")
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
