"""What every response has in common: the request id, who may keep it, one log line."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.settings import Settings
from tests.support.database import Sql
from tests.support.logs import json_logs
from tests.support.tokens import Tokens

START = "/functions/v1/start-historical-sync"
STATUS, LIST = "/functions/v1/get-sync-status", "/functions/v1/list-sync-jobs"
DASHBOARD = "https://dashboard.example"


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


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_only_a_preflight_of_an_unknown_path_succeeds(client: FlaskClient, method: str) -> None:
    headers = {"Access-Control-Request-Method": "POST", "Origin": "https://dashboard.example"}
    assert client.open("/nope", method=method, headers=headers).status_code == 404
    assert client.options("/nope", headers=headers).status_code == 200
