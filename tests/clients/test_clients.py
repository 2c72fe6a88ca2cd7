"""The dashboard's own client library against the service as it is run: gunicorn on a real database."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.clients.clients import Client, Curl, Outcome, SupabaseJs
from tests.clients.conftest import Call
from tests.support.database import Sql, add_agency, add_user, jobs_of, login_url
from tests.support.serving import Serve, Server, free_port
from tests.support.tokens import Tokens

START, STATUS, LIST = "start-historical-sync", "get-sync-status", "list-sync-jobs"
COVERAGE = "get-sync-coverage"
CANCEL, RESUME = "cancel-historical-sync", "resume-historical-sync"
METHODS = {START: "POST", STATUS: "GET", LIST: "GET", COVERAGE: "GET", CANCEL: "POST", RESUME: "POST"}
NO_JOB = "00000000-0000-4000-8000-000000000000"


def assert_refused(client: Client, outcome: Outcome, status: int, code: str) -> dict[str, Any]:
    """Assert that the caller learns of a refusal what the contract promises, and return the body."""
    assert (outcome.error, outcome.status) == (client.refusal, status), outcome
    assert outcome.body["code"] == code
    assert outcome.body["error"].endswith(".")
    assert outcome.headers["x-request-id"]
    assert ("request_id" in outcome.body) == (status >= 500)
    assert ("retry-after" in outcome.headers) == (status == 503)
    return outcome.body  # type: ignore[no-any-return]


def answer(outcome: Outcome) -> Any:
    assert (outcome.error, outcome.status) == (None, 200), outcome
    assert outcome.headers["x-request-id"]
    return outcome.body


def requests_in(log: Path) -> list[tuple[str, str, int]]:
    """Return method, function and status of what was asked of the functions, in order."""
    requests = [json.loads(line) for line in log.read_text().splitlines() if '"event": "request"' in line]
    prefix = "/functions/v1/"
    return [
        (it["method"], it["path"].removeprefix(prefix), it["status"])
        for it in requests
        if it["path"].startswith(prefix)
    ]


def test_the_dashboard_starts_a_sync_watches_it_cancels_it_resumes_it_and_lists_it(call: Call, sql: Sql) -> None:
    assert answer(call(STATUS, method="GET")) == {"active": False, "recent_job": None}

    started = answer(call(START, body={"date_from": "2026-01-01", "date_to": "2026-02-01T12:00:00+01:00"}))
    job_id = started["job_id"]
    assert started == {"job_id": job_id, "status": "pending"}
    assert [str(job["id"]) for job in jobs_of(sql)] == [job_id]

    status = answer(call(STATUS, method="GET"))
    assert status["active"] is True
    assert (status["job"]["id"], status["job"]["status"]) == (job_id, "pending")
    assert status["job"]["date_from"] == "2026-01-01T00:00:00Z"
    assert status["job"]["date_to"] == "2026-02-01T11:00:00Z"
    found = answer(call(f"{STATUS}?job_id={job_id}", method="GET"))
    assert found == {"active": True, "job": {**status["job"], "failures": []}}
    days = answer(call(f"{COVERAGE}?date_from=2026-01-01&date_to=2026-01-31", method="GET"))["days"]
    assert days[30] == {"date": "2026-01-31", "stored": 0, "source": None, "state": "unverified"}

    assert answer(call(CANCEL, body={"job_id": job_id})) == {"job_id": job_id, "status": "cancelled"}
    assert answer(call(STATUS, method="GET"))["recent_job"]["status"] == "cancelled"
    assert answer(call(RESUME, body={"job_id": job_id})) == {"job_id": job_id, "status": "pending"}
    answer(call(CANCEL, body={"job_id": job_id}))

    second = answer(call(START))["job_id"]
    first_page = answer(call(f"{LIST}?limit=1", method="GET"))
    assert ([job["id"] for job in first_page["jobs"]], first_page["next"]) == ([second], second)
    last_page = answer(call(f"{LIST}?limit=1&before={second}", method="GET"))
    assert ([job["id"] for job in last_page["jobs"]], last_page["next"]) == ([job_id], None)
    assert [job["id"] for job in answer(call(LIST, method="GET"))["jobs"]] == [second, job_id]


def test_a_sync_of_everything_needs_no_body(call: Call, sql: Sql) -> None:
    bodies: tuple[Any, ...] = ({}, "", "{}", {"date_from": None, "date_to": None})
    own_type: dict[str, Any] = {"body": {}, "headers": {"Content-Type": "text/plain"}}
    for options in ({}, *({"body": body} for body in bodies), own_type):
        sql.execute("delete from public.historical_sync_jobs")
        assert answer(call(START, **options))["status"] == "pending"
        assert [job["date_from"] for job in jobs_of(sql)] == [None]


@pytest.mark.parametrize("auth", ["headers", "accessToken"])
def test_the_token_may_be_set_as_a_header_or_by_the_session(
    node: SupabaseJs, app_server: Server, token: str, auth: str
) -> None:
    answer(node.invoke(app_server.url, token, START, auth=auth))


def test_the_headers_that_clients_add_pass(call: Call) -> None:
    sent = ("x-retry-count", "traceparent", "tracestate", "baggage", "if-none-match")
    outcome = call(START, region="us-east-1", headers={**dict.fromkeys(sent, "1"), "x-request-id": "from-the-page"})

    answer(outcome)
    assert outcome.headers["x-request-id"] == "from-the-page"
    # supabase-js puts the region into the address too, where nothing else may be that is not known.
    assert answer(call(STATUS, method="GET", region="us-east-1"))["active"] is True


class TestErrors:
    def test_a_body_that_is_no_json_object_is_a_400(self, client: Client, call: Call) -> None:
        for function in (START, CANCEL, RESUME):
            for body in ("nonsense", "[1]", [1], "\x00"):
                assert_refused(client, call(function, body=body), 400, "invalid_body")

    def test_a_wrong_field_is_a_400_that_names_it(self, client: Client, call: Call) -> None:
        get = {"method": "GET"}
        for function, options, field in (
            (START, {"body": {"dateFrom": "2026-01-01"}}, "dateFrom"),
            (START, {"body": {"date_from": "yesterday"}}, "date_from"),
            (START, {"body": {"date_from": "2026-02-01", "date_to": "2026-01-01"}}, "date_from"),
            (START, {"body": {"date_to": 20260101}}, "date_to"),
            (f"{STATUS}?job_id=1", get, "job_id"),
            (f"{LIST}?limit=101", get, "limit"),
            (f"{LIST}?before=1", get, "before"),
            (f"{STATUS}?jobId=1", get, "jobId"),
            (f"{LIST}?limit=1&limit=2", get, "limit"),
            (f"{START}?date_from=2026-01-01", {}, "date_from"),
            (CANCEL, {}, "job_id"),
            (RESUME, {"body": {"job_id": "1"}}, "job_id"),
        ):
            refused = assert_refused(client, call(function, **options), 400, "invalid_fields")
            assert list(refused["fields"]) == [field]

    def test_a_finished_job_can_be_neither_cancelled_nor_resumed(self, client: Client, call: Call, sql: Sql) -> None:
        job_id = answer(call(START))["job_id"]
        running = assert_refused(client, call(RESUME, body={"job_id": job_id}), 400, "job_not_resumable")
        sql.execute("update public.historical_sync_jobs set status = 'completed'")
        finished = assert_refused(client, call(CANCEL, body={"job_id": job_id}), 400, "job_not_cancellable")

        assert (running["current_status"], finished["current_status"]) == ("pending", "completed")

    def test_a_missing_invalid_or_expired_token_is_a_401_everywhere(
        self, client: Client, app_server: Server, tokens: Tokens, anon_key: str
    ) -> None:
        refused = {"nonsense": "token_invalid", anon_key: "token_invalid", tokens.sign(exp=1): "token_expired"}
        for function, method in METHODS.items():
            for token, code in refused.items():
                assert_refused(client, client.invoke(app_server.url, token, function, method=method), 401, code)
            nothing = client.invoke(app_server.url, None, function, method=method, headers={"Authorization": ""})
            assert_refused(client, nothing, 401, "token_missing")

    def test_without_a_session_the_key_of_the_page_opens_nothing(
        self, supabase_js: SupabaseJs, app_server: Server
    ) -> None:
        assert_refused(supabase_js, supabase_js.invoke(app_server.url, None, START), 401, "token_invalid")
        # Newer clients send a key of the newer kind as `apikey` only.
        outcome = supabase_js.invoke(app_server.url, None, START, key="sb_publishable_x")
        assert_refused(supabase_js, outcome, 401, outcome.body["code"])
        assert outcome.body["code"] in ("token_invalid", "token_missing")

    def test_a_revoked_session_is_a_401(self, client: Client, serve: Serve, own_database_url: str, token: str) -> None:
        with psycopg.connect(own_database_url, autocommit=True) as conn:
            conn.execute(
                """
                create schema auth;
                create table auth.users (id uuid primary key, banned_until timestamptz, deleted_at timestamptz);
                create table auth.sessions (id uuid primary key, user_id uuid references auth.users);
                """
            )
        with serve(DATABASE_URL=login_url(own_database_url, "historical_sync_service")) as server:
            assert_refused(client, client.invoke(server.url, token, START), 401, "session_revoked")

    def test_a_user_without_an_agency_is_a_403(
        self, client: Client, app_server: Server, tokens: Tokens, sql: Sql
    ) -> None:
        for user_id in (uuid4(), add_user(sql, None)):
            outcome = client.invoke(app_server.url, tokens.sign(sub=str(user_id)), START)
            assert_refused(client, outcome, 403, "no_agency")

    def test_the_job_of_another_agency_is_a_403(
        self, client: Client, call: Call, app_server: Server, tokens: Tokens, sql: Sql
    ) -> None:
        job_id = answer(call(START))["job_id"]
        stranger = tokens.sign(sub=str(add_user(sql, add_agency(sql))))

        for name, options in requests_about(job_id):
            outcome = client.invoke(app_server.url, stranger, name, **options)
            assert_refused(client, outcome, 403, "job_not_yours")

    def test_an_unknown_job_is_a_404(self, client: Client, call: Call) -> None:
        for name, options in requests_about(NO_JOB):
            assert_refused(client, call(name, **options), 404, "job_not_found")

    def test_an_unknown_function_is_a_404(self, client: Client, call: Call) -> None:
        assert_refused(client, call("no-such-function"), 404, "not_found")
        assert_refused(client, call("no-such-function", method="GET"), 404, "not_found")

    def test_another_method_is_a_405(self, client: Client, call: Call) -> None:
        for function, method in METHODS.items():
            other = "POST" if method == "GET" else "GET"
            assert_refused(client, call(function, method=other), 405, "method_not_allowed")

    def test_a_second_sync_is_a_409_that_shows_the_first(self, client: Client, call: Call) -> None:
        first = answer(call(START))["job_id"]
        refused = assert_refused(client, call(START), 409, "sync_already_active")
        assert "already exists" in refused["error"]
        assert refused["job"] == answer(call(STATUS, method="GET"))["job"]

        answer(call(CANCEL, body={"job_id": first}))
        second = answer(call(START))["job_id"]
        refused = assert_refused(client, call(RESUME, body={"job_id": first}), 409, "sync_already_active")
        assert refused["job"]["id"] == second

    def test_a_body_that_is_too_large_is_a_413(self, client: Client, call: Call, sql: Sql) -> None:
        for size in (16 * 1024 + 1, 100_000, 1_000_000, 4_000_000):
            assert_refused(client, call(START, body=" " * size), 413, "body_too_large")
        assert jobs_of(sql) == []

    def test_a_failing_database_function_is_a_500_that_gives_nothing_away(
        self, client: Client, serve: Serve, own_database_url: str, tokens: Tokens
    ) -> None:
        with psycopg.connect(own_database_url, autocommit=True, row_factory=dict_row) as conn:
            token = tokens.sign(sub=str(add_user(conn, add_agency(conn))))
            conn.execute(
                """
                create or replace function public.create_historical_sync_job(
                    p_agency_id uuid, p_date_from timestamptz, p_date_to timestamptz
                ) returns uuid language plpgsql as $$ begin raise exception 'the password is hunter2'; end $$
                """
            )
        with serve(DATABASE_URL=login_url(own_database_url, "historical_sync_service")) as server:
            outcome = client.invoke(server.url, token, START)

        refused = assert_refused(client, outcome, 500, "internal_error")
        assert refused["request_id"] == outcome.headers["x-request-id"]
        assert "hunter2" not in json.dumps(refused)

    def test_a_database_that_is_down_is_a_503_that_says_when_to_try_again(
        self, client: Client, serve: Serve, token: str
    ) -> None:
        down = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
        with serve(DATABASE_URL=down, DATABASE_POOL_TIMEOUT="0.3") as server:
            for name, options in [(START, {}), (LIST, {"method": "GET"}), *requests_about(NO_JOB)]:
                outcome = client.invoke(server.url, token, name, **options)
                assert_refused(client, outcome, 503, "database_unavailable")
                assert int(outcome.headers["retry-after"]) > 0

    def test_keys_that_were_never_fetched_are_a_503(self, client: Client, serve: Serve, token: str) -> None:
        with serve(SUPABASE_URL=f"http://127.0.0.1:{free_port()}") as server:
            assert_refused(client, client.invoke(server.url, token, START), 503, "auth_keys_unavailable")


def requests_about(job_id: str) -> list[tuple[str, dict[str, Any]]]:
    by_id = {"body": {"job_id": job_id}}
    return [(f"{STATUS}?job_id={job_id}", {"method": "GET"}), (CANCEL, by_id), (RESUME, by_id)]


class TestBrowser:
    """What only a browser does: preflights, a cache, and headers that it hides from pages of another origin."""

    def test_a_preflight_comes_first_and_is_remembered(
        self, browser: SupabaseJs, app_server: Server, token: str, tmp_path: Path
    ) -> None:
        for _ in range(3):
            browser.invoke(app_server.url, token, START, body={})

        assert requests_in(tmp_path / "log") == [
            ("OPTIONS", START, 200),
            ("POST", START, 200),
            ("POST", START, 409),
            ("POST", START, 409),
        ]

    def test_a_page_may_read_the_exposed_headers_and_no_others(
        self, browser: SupabaseJs, app_server: Server, token: str
    ) -> None:
        outcome = browser.invoke(app_server.url, "nonsense", START)

        assert "x-request-id" in outcome.headers
        assert "www-authenticate" not in outcome.headers
        assert browser.invoke(app_server.url, token, STATUS, method="GET").headers["etag"]
        assert browser.invoke(app_server.url, token, STATUS).headers["allow"] == "GET, HEAD, OPTIONS"

    def test_polling_a_status_that_has_not_changed_costs_a_304_that_the_page_does_not_see(
        self, browser: SupabaseJs, app_server: Server, token: str, sql: Sql, tmp_path: Path
    ) -> None:
        def poll() -> Outcome:
            return browser.invoke(app_server.url, token, STATUS, method="GET")

        answer(browser.invoke(app_server.url, token, START))
        polls = [poll() for _ in range(3)]
        sql.execute("update public.historical_sync_jobs set status = 'completed'")

        assert [answer(it)["job"]["status"] for it in polls] == ["pending"] * 3
        assert len({it.headers["x-request-id"] for it in polls}) == 3
        assert answer(poll())["recent_job"]["status"] == "completed"
        gets = [status for method, _, status in requests_in(tmp_path / "log") if method == "GET"]
        assert gets == [200, 304, 304, 200]

    def test_another_user_in_the_same_browser_does_not_see_what_it_has_cached(
        self, browser: SupabaseJs, app_server: Server, token: str, tokens: Tokens, sql: Sql
    ) -> None:
        stranger = tokens.sign(sub=str(add_user(sql, add_agency(sql))))
        job_id = answer(browser.invoke(app_server.url, token, START))["job_id"]
        for name, mine, theirs in (
            (STATUS, ("job", job_id), ("recent_job", None)),
            (LIST, ("jobs", [job_id]), ("jobs", [])),
        ):
            for who, (field, expected) in ((token, mine), (stranger, theirs), (token, mine)):
                found = answer(browser.invoke(app_server.url, who, name, method="GET"))[field]
                ids = [job["id"] for job in found] if isinstance(found, list) else found and found["id"]
                assert ids == expected

    def test_a_page_of_a_configured_origin_is_served(self, browser: SupabaseJs, serve: Serve, token: str) -> None:
        assert browser.program.origin
        with serve(CORS_ALLOWED_ORIGINS=f"https://other.example, {browser.program.origin}") as server:
            answer(browser.invoke(server.url, token, START, body={}))
            refused = browser.invoke(server.url, token, START, body={})
            assert_refused(browser, refused, 409, "sync_already_active")

    def test_a_page_of_another_origin_is_refused_by_the_browser(
        self, browser: SupabaseJs, serve: Serve, token: str, sql: Sql, tmp_path: Path
    ) -> None:
        with serve(CORS_ALLOWED_ORIGINS="https://other.example") as server:
            for name, options in ((START, {"body": {}}), (STATUS, {"method": "GET"})):
                assert browser.invoke(server.url, token, name, **options) == Outcome("FunctionsFetchError")

        assert {method for method, _, _ in requests_in(tmp_path / "log")} == {"OPTIONS"}
        assert jobs_of(sql) == []


def test_curl_is_told_304_of_a_status_that_it_has(curl: Curl, app_server: Server, token: str) -> None:
    known = curl.invoke(app_server.url, token, STATUS, method="GET").headers["etag"]

    outcome = curl.invoke(app_server.url, token, STATUS, method="GET", headers={"If-None-Match": known})

    assert (outcome.status, outcome.body) == (304, None)


def test_a_service_that_is_not_there_is_told_apart_from_one_that_refuses(supabase_js: SupabaseJs, token: str) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert supabase_js.invoke(nowhere, token, START) == Outcome("FunctionsFetchError")
