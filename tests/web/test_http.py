import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from flask import Flask, abort
from flask.testing import FlaskClient

from service.errors import ErrorCode, ServiceError
from service.logs import configure_logs
from service.settings import Settings
from service.web import http
from tests.support.database import Sql, jobs_of
from tests.support.http_assertions import assert_error
from tests.support.paths import ROOT
from tests.support.tokens import Tokens

START = "/functions/v1/start-historical-sync"
STATUS, LIST = "/functions/v1/get-sync-status", "/functions/v1/list-sync-jobs"
PUBLIC = {"health.healthz", "health.readyz", "metrics.metrics", "openapi.openapi"}
DASHBOARD = "https://dashboard.example"


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


def test_the_region_that_supabase_js_adds_to_the_address_is_passed_over(
    app: Flask, bearer: dict[str, str], sql: Sql
) -> None:
    region = "forceFunctionRegion=eu-west-1"
    assert app.test_client().post(f"{START}?{region}", headers=bearer).status_code == 200
    [job] = jobs_of(sql)
    status = app.test_client().get(f"{STATUS}?job_id={job['id']}&{region}", headers=bearer)
    assert status.status_code == 200


def test_what_is_read_about_an_agency_is_kept_by_no_shared_cache_and_never_without_asking(
    make_app: Callable[..., Flask], bearer: dict[str, str], sql: Sql
) -> None:
    client = make_app().test_client()
    for path in (STATUS, LIST):
        known = {"If-None-Match": client.get(path, headers=bearer).headers.get("ETag", "")}
        for method, headers, query, status in (
            ("GET", bearer, "", 200),
            ("HEAD", bearer, "", 200),
            ("GET", {**bearer, **known}, "", 304 if path == STATUS else 200),
            ("GET", {}, "", 401),
            ("GET", bearer, "?unknown=1", 400),
        ):
            response = client.open(path + query, method=method, headers=headers)
            assert response.status_code == status
            assert response.headers.getlist("Cache-Control") == ["private, no-cache"]
            assert response.headers.getlist("Vary") == ["Authorization"]
    assert "Cache-Control" not in client.post(START, headers=bearer).headers
    assert "Cache-Control" not in client.get("/healthz").headers


def test_it_varies_with_the_origin_too_where_origins_are_listed(
    make_app: Callable[..., Flask], bearer: dict[str, str]
) -> None:
    client = make_app(cors_allowed_origins=f"{DASHBOARD}, http://localhost:3000").test_client()
    for origin in (DASHBOARD, "https://evil.example"):
        response = client.get(STATUS, headers={**bearer, "Origin": origin})
        assert sorted(response.vary) == ["Authorization", "Origin"]
        assert len(response.headers.getlist("Vary")) == 1


def test_head_answers_as_get_without_the_body(client: FlaskClient, bearer: dict[str, str]) -> None:
    for path in (STATUS, LIST, "/healthz", "/readyz", "/openapi.json"):
        get, head = (client.open(path, method=method, headers=bearer) for method in ("GET", "HEAD"))
        assert (head.status_code, head.data) == (200, b"")
        for name in ("Content-Type", "Content-Length", "ETag", "Access-Control-Allow-Origin"):
            assert head.headers.get(name) == get.headers.get(name)
    assert client.head(STATUS).status_code == 401


def test_nginx_says_of_its_own_what_the_service_says() -> None:
    template = (ROOT / "deploy/nginx/default.conf.template").read_text()
    for said in (http.ALLOWED_METHODS, http.ALLOWED_HEADERS, http.EXPOSED_HEADERS):
        assert f'default "{said}";' in template
    for code in ("NOT_FOUND", "BODY_TOO_LARGE", "INTERNAL_ERROR"):
        assert f'"error":"{ErrorCode[code].text}","code":"{ErrorCode[code].value}"' in template
    for text in (ErrorCode.BAD_REQUEST.text, *http.TOO_LARGE.values()):
        assert f'"{text}";' in template
    assert f'"error":"{ErrorCode.METHOD_NOT_ALLOWED.text} Use $method_to_use."' in template


@pytest.mark.parametrize("path", ["/", "/nowhere", f"{START}/", f"/{START}", "/functions/v1/", "/%ff", "/%00"])
def test_an_unknown_path_is_not_found(client: FlaskClient, path: str) -> None:
    assert_error(client.post(path), 404, "not_found")


def test_the_preflight_of_an_unknown_path_succeeds_so_that_a_page_can_see_its_404(client: FlaskClient) -> None:
    preflight = {"Origin": DASHBOARD, "Access-Control-Request-Method": "POST"}

    assert client.options("/nowhere", headers=preflight).status_code == 200
    assert_error(client.options("/nowhere"), 404, "not_found")


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


def test_a_preflight_is_answered_without_a_token(client: FlaskClient) -> None:
    response = client.options(
        START,
        headers={
            "Origin": DASHBOARD,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,x-client-info,apikey,content-type",
        },
    )

    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Access-Control-Max-Age"] == "86400"
    methods = response.headers["Access-Control-Allow-Methods"].split(", ")
    assert {"POST", "OPTIONS"} <= set(methods)
    headers = response.headers["Access-Control-Allow-Headers"].split(", ")
    assert headers == [
        *("authorization", "x-client-info", "apikey", "content-type", "x-region", "x-retry-count"),
        *("traceparent", "tracestate", "baggage", "x-request-id", "if-none-match"),
    ]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", START), ("POST", "/nowhere"), ("GET", START), ("GET", "/healthz")]
)
def test_every_response_carries_cors_headers_that_a_browser_can_use(
    client: FlaskClient, method: str, path: str
) -> None:
    response = client.open(path, method=method, headers={"Origin": DASHBOARD})

    assert response.headers.getlist("Access-Control-Allow-Origin") == ["*"]
    assert response.headers["Access-Control-Expose-Headers"] == "x-request-id, retry-after, etag, allow"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (DASHBOARD, DASHBOARD),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://localhost:30001", None),
        ("https://dashboard.example.evil", None),
        ("https://evil.example", None),
        ("null", None),
    ],
)
def test_only_configured_origins_are_allowed(make_app: Callable[..., Flask], origin: str, allowed: str | None) -> None:
    app = make_app(cors_allowed_origins=f"{DASHBOARD}, http://localhost:3000/")
    for response in (
        app.test_client().post(START, headers={"Origin": origin}),
        app.test_client().options(START, headers={"Origin": origin, "Access-Control-Request-Method": "POST"}),
    ):
        assert response.headers.get("Access-Control-Allow-Origin") == allowed
        assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize("sent", ["a", "7c1f", "x" * 128, "with space and ~!#"])
def test_the_callers_request_id_comes_back(client: FlaskClient, sent: str) -> None:
    assert client.post(START, headers={"X-Request-ID": sent}).headers["X-Request-ID"] == sent


@pytest.mark.parametrize("sent", ["", "x" * 129, "tab\tbed", "ümlaut", "\x7f"])
def test_a_request_id_that_is_not_1_to_128_printable_ascii_characters_is_replaced(
    client: FlaskClient, sent: str
) -> None:
    ids = {client.post(START, headers={"X-Request-ID": sent}).headers["X-Request-ID"] for _ in range(2)}
    assert sent not in ids
    assert len(ids) == 2


@pytest.fixture
def broken_client(app: Flask) -> FlaskClient:
    """An app whose routes raise."""

    def crash() -> str:
        raise RuntimeError("the password is hunter2")

    def refuse(code: str) -> str:
        raise ServiceError(ErrorCode[code], reason="only for operators", retry_after=5)

    app.add_url_rule("/crash", view_func=crash)
    app.add_url_rule("/refuse/<code>", view_func=refuse)
    app.add_url_rule("/abort/<int:status>", "abort", lambda status: abort(status))
    app.add_url_rule("/teapot", "teapot", lambda: abort(418))
    app.add_url_rule("/gateway", "gateway", lambda: abort(502))
    return app.test_client()


def test_an_unexpected_exception_is_a_500_that_shows_nothing(broken_client: FlaskClient) -> None:
    response = broken_client.get("/crash")

    body = assert_error(response, 500, "internal_error")
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert "hunter2" not in response.text


@pytest.mark.parametrize("code", list(ErrorCode), ids=lambda code: code.value)
def test_each_code_is_answered_with_its_status_and_text_and_never_its_reason(
    broken_client: FlaskClient, code: ErrorCode
) -> None:
    response = broken_client.get(f"/refuse/{code.name}")

    assert response.status_code == code.status
    assert response.json is not None
    assert (response.json["code"], response.json["error"]) == (code.value, code.text)
    assert "operators" not in response.text


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/abort/400", 400, "bad_request"),
        ("/abort/404", 404, "not_found"),
        ("/abort/413", 413, "body_too_large"),
        ("/abort/415", 400, "bad_request"),
        ("/teapot", 400, "bad_request"),
        ("/gateway", 500, "internal_error"),
    ],
)
def test_errors_raised_by_flask_and_werkzeug_have_the_same_shape(
    broken_client: FlaskClient, path: str, status: int, code: str
) -> None:
    response = broken_client.get(path)

    assert response.json is not None
    assert (response.status_code, response.json["code"]) == (status, code)
    assert ("fields" in response.json) == (status == 400)
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_the_process_answers_even_without_a_database(make_app: Callable[..., Flask]) -> None:
    app = make_app(database_url="postgresql://nobody@127.0.0.1:1/none", database_pool_timeout=0.2)

    assert app.test_client().get("/healthz").json == {"status": "ok"}
    assert_error(app.test_client().get("/readyz"), 503, "database_unavailable")


def test_a_process_with_a_database_is_ready(client: FlaskClient) -> None:
    assert client.get("/readyz").json == {"status": "ok"}


@contextmanager
def json_logs(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Log as in production; yields a function that reads what was logged."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    configure_logs(settings)
    try:
        yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    finally:
        root.handlers[:], root.level = before
        structlog.reset_defaults()


def test_one_line_is_logged_for_a_request_with_its_id_user_and_agency(
    client: FlaskClient,
    bearer: dict[str, str],
    make_settings: Callable[..., Settings],
    capsys: pytest.CaptureFixture[str],
    user_id: object,
    agency_id: object,
) -> None:
    with json_logs(make_settings(log_format="json"), capsys) as lines:
        client.post(START, headers={**bearer, "X-Request-ID": "r-1"})
        [line] = lines()

    assert line["duration_ms"] >= 0
    assert line["timestamp"].endswith("Z")
    expected = {
        "event": "request",
        "request_id": "r-1",
        "method": "POST",
        "path": START,
        "status": 200,
        "user_id": str(user_id),
        "agency_id": str(agency_id),
    }
    assert {name: line[name] for name in expected} == expected


def test_the_cause_of_a_500_is_logged_with_the_requests_id(
    broken_client: FlaskClient, make_settings: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    with json_logs(make_settings(log_format="json"), capsys) as lines:
        broken_client.get("/crash", headers={"X-Request-ID": "r-2"})
        cause, request = lines()

    assert "hunter2" in cause["exception"]
    assert {cause["request_id"], request["request_id"]} == {"r-2"}
    assert request["status"] == 500


def test_no_token_is_ever_logged(
    client: FlaskClient,
    tokens: Tokens,
    make_settings: Callable[..., Settings],
    capsys: pytest.CaptureFixture[str],
) -> None:
    sent = [tokens.sign(), tokens.sign(exp=1), tokens.sign("HS256", role="service_role"), "sb_secret_abcdefgh", "a.b.c"]
    with json_logs(make_settings(log_level="debug", log_format="json"), capsys) as _:
        for token in sent:
            client.post(START, headers={"Authorization": f"Bearer {token}"})
        output = capsys.readouterr().err

    assert output.count('"event": "request"') == len(sent)
    assert not [token for token in sent if token in output]
