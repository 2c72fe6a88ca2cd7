import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.sql import SQL, Identifier, Placeholder
from werkzeug.test import TestResponse

from service.jobs import people as jobs
from tests.support.database import Sql, add_agency, add_user, jobs_of, login_url
from tests.support.http_assertions import assert_error
from tests.support.statements import Statements
from tests.support.tokens import Tokens
from tests.support.waiting import wait_until

PREFIX = "/functions/v1"
STATUS, LIST = f"{PREFIX}/get-sync-status", f"{PREFIX}/list-sync-jobs"
COVERAGE = f"{PREFIX}/get-sync-coverage"
CANCEL, RESUME = f"{PREFIX}/cancel-historical-sync", f"{PREFIX}/resume-historical-sync"
READS, STEERS = (STATUS, LIST, COVERAGE), (CANCEL, RESUME)
ROUTES = (*READS, *STEERS)
ACTIVE, FINISHED = ("pending", "in_progress"), ("completed", "failed", "cancelled")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
Row = dict[str, Any]

ONE_OF_MANY = {"total_calls": 2**31 - 1, "processed_calls": 1}
UNTOLD = ({"attempt_started_at": None}, {"attempt_processed_calls": 10})
NO_ETA = (*UNTOLD, {"status": "pending"}, {"total_calls": None}, {"total_calls": 9}, ONE_OF_MANY)
A_WEEK = {"attempt_started_at": NOON - timedelta(weeks=1)}
REFUSED = [*((CANCEL, each) for each in FINISHED), *((RESUME, each) for each in (*ACTIVE, "completed"))]
MEANWHILE = [(CANCEL, "in_progress", "completed"), (CANCEL, "pending", "cancelled"), (RESUME, "failed", "pending")]
A_UUID = "5fdbd84f-7176-4304-a02b-0f0a6db53d61"
HEX = A_UUID.replace("-", "")
NO_UUIDS: tuple[Any, ...] = (None, "", "x", 1, True, [], {}, HEX, f"{{{A_UUID}}}", f"{A_UUID}\n", "\ud800")
BAD_BODIES = [("", "job_id"), ("{}", "job_id"), *((json.dumps({"job_id": value}), "job_id") for value in NO_UUIDS)]
UNKNOWN = [(json.dumps({"job_id": A_UUID, name: 1}), name) for name in ("jobId", "agency_id", "")]
NO_LIMITS = [f"limit={text}" for text in ("0", "101", "-1", "", "ten", "1.5", "1e1", "%EF%BC%91", "9" * 5000)]
NO_IDS = ("", "x", "null", "%00", "%ff", HEX, f"{A_UUID}%0a")
BAD_QUERIES = [*((LIST, query) for query in (*NO_LIMITS, *(f"before={text}" for text in NO_IDS), "limit=0&before=x"))]


@dataclass
class Us:
    """A signed-in user, and the jobs of the user's agency."""

    client: FlaskClient
    bearer: dict[str, str]
    sql: Sql
    agency_id: UUID

    def add(self, status: str = "pending", **columns: Any) -> UUID:
        finished = {"completed_at": NOON} if status in FINISHED else {}
        row = {"agency_id": self.agency_id, "status": status, "date_to": NOON, **finished, **columns}
        names, values = SQL(", ").join(map(Identifier, row)), SQL(", ").join([Placeholder()] * len(row))
        statement = SQL("insert into public.historical_sync_jobs ({}) values ({}) returning id").format(names, values)
        return UUID(str(self.sql.execute(statement, list(row.values())).fetchall()[0]["id"]))

    def row(self, job_id: UUID) -> Row:
        [row] = [job for job in jobs_of(self.sql) if job["id"] == job_id]
        return row

    def ask(self, route: str, job_id: object = None) -> TestResponse:
        """Call a route as the dashboard does; the reading ones name no job."""
        if route.endswith(("status", "jobs", "coverage")):
            return self.get(route)
        return self.client.post(route, headers=self.bearer, json={"job_id": str(job_id or uuid4())})

    def get(self, url: str, **headers: str) -> TestResponse:
        return self.client.get(url, headers={**self.bearer, **headers})

    def latest(self) -> Row:
        body = self.get(STATUS).get_json()
        return dict(body["job"] if body["active"] else body["recent_job"])

    def listed(self) -> list[Row]:
        response = self.get(LIST)
        assert response.status_code == 200
        return list(response.get_json()["jobs"])


@pytest.fixture
def us(client: FlaskClient, bearer: dict[str, str], sql: Sql, agency_id: UUID) -> Us:
    return Us(client, bearer, sql, agency_id)


@pytest.fixture
def strange_job(us: Us) -> UUID:
    """A job of another agency, newer than any of ours."""
    them = replace(us, agency_id=add_agency(us.sql, "Other"))
    return them.add("failed", created_at=datetime.now(UTC) + 60 * MINUTE)


class TestStatus:
    @pytest.mark.usefixtures("strange_job")
    def test_an_agency_without_jobs_has_no_recent_one(self, us: Us) -> None:
        assert us.get(STATUS).json == {"active": False, "recent_job": None}

    @pytest.mark.parametrize("status", [*ACTIVE, *FINISHED])
    def test_a_job_is_shown_as_active_or_recent_and_by_its_id(self, us: Us, status: str) -> None:
        job_id, active = us.add(status), status in ACTIVE
        named = us.get(f"{STATUS}?job_id={str(job_id).upper()}").get_json()
        assert (named["job"]["id"], named["job"]["status"]) == (str(job_id), status)
        assert named == {"active": active, "job": named["job"]}
        assert named["job"].pop("failures") == []
        assert us.get(STATUS).json == {"active": active, "job" if active else "recent_job": named["job"]}

    @pytest.mark.parametrize(("older", "shown"), [("pending", 0), ("in_progress", 0), ("failed", 1)])
    def test_the_active_job_comes_first_and_then_the_newest(self, us: Us, older: str, shown: int) -> None:
        ids = [us.add(older), us.add("completed")]
        assert us.latest()["id"] == str(ids[shown])

    def test_a_job_has_exactly_these_fields(self, us: Us, user_id: UUID) -> None:
        total = {"total_calls": 800, "processed_calls": 100, "failed_calls": 10}
        counts = {**total, "imported_calls": 60, "skipped_calls": 30}
        span = {"date_from": "2026-01-01T00:00:00Z", "date_to": "2026-02-01T10:30:15.250000Z"}
        life = {"created_at": "2026-03-01T10:00:00.000001Z", "started_at": "2026-03-01T10:30:00Z", "attempt": 2}
        rest = {"last_activity_at": "2026-03-01T12:00:00Z", "requested_by": str(user_id)}
        attempt = {"attempt_started_at": NOON - 10 * MINUTE, "attempt_processed_calls": 50}
        job_id = us.add("in_progress", **counts, **span, **life, **rest, **attempt)
        told = {"id": str(job_id), "status": "in_progress", "progress_percent": 13, "eta": "2026-03-01T14:20:00Z"}
        absent = dict.fromkeys(("completed_at", "next_attempt_at", "error_message", "verification", "missing_calls"))
        assert us.latest() == {**counts, **span, **life, **rest, **told, **absent}

    def test_a_job_asked_for_by_its_id_tells_a_hundred_calls_that_could_not_be_stored_and_why(self, us: Us) -> None:
        job_id, other = us.add("completed"), us.add("failed")
        insert = "insert into historical_sync.listed_calls (job_id, call_id, failure) values (%s, %s, %s)"
        for number in range(102):
            us.sql.execute(insert, [job_id, f"call-{number:03}", "The call has no date." if number else None])
        us.sql.execute(insert, [other, "call-of-another", "The call has no id."])
        failures = us.get(f"{STATUS}?job_id={job_id}").get_json()["job"]["failures"]
        assert failures[0] == {"call_id": "call-001", "reason": "The call has no date."}
        assert [failure["call_id"] for failure in failures] == [f"call-{number:03}" for number in range(1, 101)]
        assert "failures" not in us.latest()
        assert all("failures" not in job for job in us.listed())

    @pytest.mark.parametrize(
        ("status", "columns", "shown"),
        [
            ("in_progress", {}, (None, None)),
            ("failed", {}, (None, None)),
            ("completed", {}, ("unverified", None)),  # by a release that did not verify
            ("completed", {"verification": "verified"}, ("verified", None)),
            ("completed", {"verification": "gaps", "missing_calls": 3}, ("gaps", 3)),
        ],
    )
    def test_only_a_completed_job_tells_whether_it_is_verified(
        self, us: Us, status: str, columns: Row, shown: tuple[Any, Any]
    ) -> None:
        us.add(status, **columns)
        [job] = us.listed()
        assert (job["verification"], job["missing_calls"]) == shown

    def test_a_waiting_job_tells_until_when_and_why_and_a_finished_one_since_when(self, us: Us) -> None:
        us.add(next_attempt_at=NOON, error_message="busy")
        us.add("cancelled", completed_at=NOON)
        shown = [(job["next_attempt_at"], job["completed_at"], job["error_message"]) for job in us.listed()]
        assert shown == [(None, "2026-03-01T12:00:00Z", None), ("2026-03-01T12:00:00Z", None, "busy")]

    def test_progress_is_rounded_and_null_while_unknown_and_100_once_completed(self, us: Us) -> None:
        us.add("completed")
        for done, total in ((5, 3), (199, 200), (1, 8), (2, 3), (1, 3), (0, 7), (0, 0), (7, None), (0, None)):
            us.add("failed", processed_calls=done, total_calls=total)
        assert [job["progress_percent"] for job in us.listed()] == [None, None, None, 0, 33, 67, 13, 100, 100, 100]

    @pytest.mark.parametrize("changes", [*NO_ETA, {**ONE_OF_MANY, **A_WEEK}])
    def test_the_eta_is_null_where_this_attempt_tells_nothing(self, us: Us, changes: Row) -> None:
        running = {"status": "in_progress", "total_calls": 40, "processed_calls": 10, "last_activity_at": NOON}
        us.add(**{**running, "attempt_started_at": NOON - 10 * MINUTE, **changes})
        assert [job["eta"] for job in us.listed()] == [None]

    def test_an_unknown_job_is_not_found_and_another_agencys_forbidden(self, us: Us, strange_job: UUID) -> None:
        assert_error(us.get(f"{STATUS}?job_id={uuid4()}"), 404, "job_not_found")
        assert_error(us.get(f"{STATUS}?job_id={strange_job}"), 403, "job_not_yours")

    @pytest.mark.parametrize("query", ["", "?job_id={}"])
    def test_a_poll_is_answered_304_until_the_job_changes(self, us: Us, query: str) -> None:
        url = STATUS + query.format(us.add("in_progress"))
        etag = us.get(url).headers["ETag"]
        for known in (etag, f"W/{etag}", f'"other", {etag}'):
            same = us.get(url, **{"If-None-Match": known, "X-Request-ID": "poll"})
            assert (same.status_code, same.data, same.headers["ETag"]) == (304, b"", etag)
            assert (same.headers["Access-Control-Allow-Origin"], same.headers["X-Request-ID"]) == ("*", "poll")
        us.sql.execute("update public.historical_sync_jobs set processed_calls = 1")
        changed = us.get(url, **{"If-None-Match": etag})
        assert (changed.status_code, changed.get_json()["job"]["processed_calls"]) == (200, 1)
        assert changed.headers["ETag"] != etag


class TestCancelAndResume:
    @pytest.mark.parametrize("columns", [{}, {"next_attempt_at": NOON, "error_message": "busy", "attempt": 3}])
    def test_a_pending_job_is_cancelled_once(self, us: Us, columns: Row) -> None:
        before = us.row(job_id := us.add(processed_calls=3, **columns))
        assert us.ask(CANCEL, job_id).json == {"job_id": str(job_id), "status": "cancelled"}
        after = us.row(job_id)
        assert abs(after["completed_at"] - datetime.now(UTC)) < MINUTE
        changes = {"status": "cancelled", "completed_at": after["completed_at"], "next_attempt_at": None}
        assert after == {**before, **changes}
        assert us.ask(CANCEL, job_id).get_json()["current_status"] == "cancelled"
        assert us.row(job_id) == after

    def test_the_lease_ends_with_the_cancellation_and_no_resumption_revives_it(self, us: Us) -> None:
        job_id = us.add(processed_calls=5, total_calls=9)
        us.sql.execute("select historical_sync.claim_job('1 hour')")
        running = us.row(job_id)
        assert running["lease_expires_at"]
        for route, status in ((CANCEL, "cancelled"), (RESUME, "pending")):
            assert us.ask(route, job_id).json == {"job_id": str(job_id), "status": status}
            row = us.row(job_id)
            changes = {"status": status, "lease_expires_at": None, "completed_at": row["completed_at"]}
            assert row == {**running, **changes}
            assert (row["completed_at"] is None) == (status == "pending")
            with pytest.raises(psycopg.Error, match="the lease on this job is over"):
                us.sql.execute("select historical_sync.heartbeat(%s, %s, '1 hour')", [job_id, running["fencing_token"]])

    @pytest.mark.parametrize("status", ["failed", "cancelled"])
    def test_a_resumed_job_keeps_its_counters_and_the_checkpoints_of_its_windows(self, us: Us, status: str) -> None:
        counts = {"processed_calls": 9, "imported_calls": 5, "skipped_calls": 3, "failed_calls": 1, "total_calls": 20}
        lived = {"attempt": 4, "fencing_token": 4, "started_at": NOON, "last_activity_at": NOON, "last_error_at": NOON}
        before = us.row(job_id := us.add(status, **counts, **lived, error_message="no", consecutive_failures=5))
        window = (
            "insert into historical_sync.windows (job_id, ends_at, position, cursor, position_call_ids, finished_at)"
        )
        us.sql.execute(f"{window} values (%s, now(), now(), 'next', '{{a,b}}', null)", [job_id])
        us.sql.execute(f"{window} values (%s, now(), now(), null, '{{}}', now())", [job_id])
        windows = us.sql.execute("select * from historical_sync.windows order by id").fetchall()
        assert us.ask(RESUME, job_id).json == {"job_id": str(job_id), "status": "pending"}
        after = {**before, "status": "pending", "completed_at": None, "error_message": None, "consecutive_failures": 0}
        assert us.row(job_id) == after
        assert us.sql.execute("select * from historical_sync.windows order by id").fetchall() == windows
        assert us.ask(RESUME, job_id).get_json()["current_status"] == "pending"
        assert us.row(job_id) == after

    @pytest.mark.parametrize(("route", "status"), REFUSED)
    def test_a_job_in_another_state_is_refused_with_that_state(self, us: Us, route: str, status: str) -> None:
        job_id = us.add(status)
        if status in FINISHED:
            us.add()  # an active one besides changes nothing
        before = jobs_of(us.sql)
        response = us.ask(route, job_id)
        body = response.get_json()
        assert (response.status_code, body["current_status"]) == (400, status)
        assert body["code"] == ("job_not_cancellable" if route == CANCEL else "job_not_resumable")
        assert body["error"].endswith(".")
        assert jobs_of(us.sql) == before

    @pytest.mark.parametrize("status", ACTIVE)
    def test_a_resumption_beside_an_active_job_names_that_job(self, us: Us, status: str) -> None:
        failed, _ = us.add("failed"), us.add(status)
        before = jobs_of(us.sql)
        body = assert_error(us.ask(RESUME, failed), 409, "sync_already_active")
        assert "already exists" in body["error"]
        assert body["job"] == us.latest()
        assert jobs_of(us.sql) == before

    def test_a_job_that_ends_before_it_is_named_is_no_longer_in_the_way(
        self, us: Us, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failed, running, active = us.add("failed"), us.add("in_progress"), jobs.active

        def active_after_the_end(*arguments: Any) -> Any:
            us.sql.execute("update public.historical_sync_jobs set status = 'completed' where id = %s", [running])
            return active(*arguments)

        monkeypatch.setattr(jobs, "active", active_after_the_end)
        assert us.ask(RESUME, failed).status_code == 200
        assert [us.row(job_id)["status"] for job_id in (failed, running)] == ["pending", "completed"]

    @pytest.mark.parametrize(("route", "first", "then"), MEANWHILE)
    def test_the_state_told_is_what_a_concurrent_change_leaves(
        self, us: Us, database_url: str, route: str, first: str, then: str
    ) -> None:
        job_id = us.add(first, completed_at=None)
        waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        with ThreadPoolExecutor(1) as thread, psycopg.connect(database_url) as other:
            other.execute("update public.historical_sync_jobs set status = %s", [then])
            answer = thread.submit(us.ask, route, job_id)
            wait_until(lambda: answer.done() or us.sql.execute(waiting).rowcount)
            other.commit()
        assert (answer.result().status_code, answer.result().get_json()["current_status"]) == (400, then)

    @pytest.mark.parametrize("route", STEERS)
    @pytest.mark.parametrize(("body", "field"), [*BAD_BODIES, *UNKNOWN])
    def test_a_bad_field_is_refused_by_name_before_the_user(self, us: Us, route: str, body: str, field: str) -> None:
        us.sql.execute("delete from public.users")
        assert_error(us.client.post(route, headers=us.bearer, data=body), 400, "invalid_fields", fields=[field])

    @pytest.mark.parametrize("route", STEERS)
    def test_an_unknown_job_is_not_found_and_another_agencys_left_alone(
        self, us: Us, strange_job: UUID, route: str
    ) -> None:
        us.add()
        for status in ("failed", "pending"):
            us.sql.execute("update public.historical_sync_jobs set status = %s, completed_at = null", [status])
            before = jobs_of(us.sql)
            assert_error(us.ask(route), 404, "job_not_found")
            assert_error(us.ask(route, strange_job), 403, "job_not_yours")
            assert jobs_of(us.sql) == before

    def test_twenty_threads_that_cancel_resume_and_start_leave_at_most_one_active_job(self, us: Us, app: Flask) -> None:
        ids = [us.add(status) for status in ("failed", "cancelled", "in_progress")]

        def steer(number: int) -> int:
            thread = replace(us, client=app.test_client())
            if number % 5 == 0:
                return thread.client.post(f"{PREFIX}/start-historical-sync", headers=us.bearer).status_code
            return thread.ask(STEERS[number % 2], ids[number % 3]).status_code

        with ThreadPoolExecutor(20) as threads:
            answers = set(threads.map(steer, range(100)))
        assert 200 in answers
        assert answers <= {200, 400, 409}
        rows = jobs_of(us.sql)
        assert [row["status"] in ACTIVE for row in rows].count(True) <= 1
        assert all((row["completed_at"] is None) == (row["status"] in ACTIVE) for row in rows)


class TestList:
    @pytest.mark.usefixtures("strange_job")
    @pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8, 100])
    def test_the_pages_bring_each_own_job_once_newest_first(self, us: Us, limit: int) -> None:
        for number in range(7):  # some of the same instant
            us.add("pending" if number == 2 else "failed", created_at=NOON + timedelta(seconds=number // 3))
        ours = [row for row in jobs_of(us.sql) if row["agency_id"] == us.agency_id]
        ours.sort(key=lambda row: (row["created_at"], row["id"]), reverse=True)
        found: list[str] = []
        page = us.get(f"{LIST}?limit={limit}").get_json()
        while page["next"]:
            found += [job["id"] for job in page["jobs"]]
            assert (len(page["jobs"]), page["next"]) == (limit, found[-1])
            us.add("failed")  # a newer one shifts no page
            page = us.get(f"{LIST}?limit={limit}&before={page['next']}").get_json()
        assert page == {"jobs": page["jobs"], "next": None}
        assert found + [job["id"] for job in page["jobs"]] == [str(row["id"]) for row in ours]

    @pytest.mark.parametrize(("query", "length"), [("", 20), ("?limit=1", 1), ("?limit=100", 100)])
    def test_a_page_is_as_long_as_asked_and_20_by_default(self, us: Us, query: str, length: int) -> None:
        jobs = "insert into public.historical_sync_jobs (agency_id, date_to, status) select %s, now(), 'failed'"
        us.sql.execute(f"{jobs} from generate_series(1, 101)", [us.agency_id])
        page = us.get(LIST + query).get_json()
        assert len(page["jobs"]) == length
        assert page["next"] == page["jobs"][-1]["id"]
        assert page["jobs"][0] == us.latest()

    def test_nothing_is_older_than_an_unknown_job_or_another_agencys(self, us: Us, strange_job: UUID) -> None:
        us.add()
        for before in (strange_job, uuid4()):
            response = us.get(f"{LIST}?before={before}")
            assert (response.status_code, response.json) == (200, {"jobs": [], "next": None})

    @pytest.mark.parametrize(("route", "query"), [*BAD_QUERIES, *((STATUS, f"job_id={text}") for text in NO_IDS)])
    def test_every_bad_parameter_is_refused_by_name(self, us: Us, route: str, query: str) -> None:
        names = [each.partition("=")[0] for each in query.split("&")]
        assert_error(us.get(f"{route}?{query}"), 400, "invalid_fields", fields=names)


@pytest.mark.parametrize("route", ROUTES)
class TestEveryRoute:
    def test_the_path_without_supabases_prefix_is_the_same_function(self, us: Us, route: str) -> None:
        job_id = us.add("failed" if route == RESUME else "pending")
        response = us.ask(route.removeprefix(PREFIX), job_id)
        assert response.status_code == 200
        assert (str(job_id) in response.text) == (route != COVERAGE)  # which tells of no job

    def test_another_method_is_refused_before_the_token_is_read(self, client: FlaskClient, route: str) -> None:
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - {"GET" if route in READS else "POST"}:
            response = client.open(route, method=method)
            assert_error(response, 405, "method_not_allowed")
            assert response.headers["Allow"] == ("GET, HEAD, OPTIONS" if route in READS else "OPTIONS, POST")

    def test_a_user_without_an_agency_is_forbidden(self, us: Us, tokens: Tokens, strange_job: UUID, route: str) -> None:
        for user_id in (uuid4(), add_user(us.sql, None)):
            us.bearer = {"Authorization": f"Bearer {tokens.sign(sub=str(user_id))}"}
            assert_error(us.ask(route, strange_job), 403, "no_agency")


def test_each_route_is_one_round_trip_and_a_conflict_two(
    us: Us, make_app: Callable[..., Flask], statements: Statements
) -> None:
    url = login_url(statements.url, "historical_sync_service")
    us.client = make_app(database_url=url, database_pool_size=1).test_client()
    us.client.get("/readyz")  # connects
    failed, pending = us.add("failed"), us.add()
    reads = ((STATUS, None), (LIST, None), (COVERAGE, None))
    steers = ((RESUME, uuid4()), (RESUME, failed), (CANCEL, pending), (CANCEL, pending), (RESUME, failed))
    answers = []
    for route, job_id in (*reads, *steers):
        with statements.counted() as count:
            status = us.ask(route, job_id).status_code
        answers.append((status, count.round_trips))
    assert answers == [(200, 1), (200, 1), (200, 1), (404, 1), (409, 2), (200, 1), (400, 1), (200, 1)]


class TestRevocation:
    @pytest.fixture
    def database_url(self, own_database_url: str) -> str:
        with psycopg.connect(own_database_url, autocommit=True) as conn:
            conn.execute("create schema auth; create table auth.sessions (id uuid, user_id uuid)")
            conn.execute("create table auth.users (id uuid, banned_until timestamptz, deleted_at timestamptz)")
        return own_database_url

    def test_a_revoked_session_is_unauthorized_on_every_route(self, us: Us, tokens: Tokens, user_id: UUID) -> None:
        us.sql.execute("insert into auth.users (id) values (%s)", [user_id])
        job_id = us.add()
        before = jobs_of(us.sql)
        us.bearer = {"Authorization": f"Bearer {tokens.sign(sub=str(user_id), session_id=str(uuid4()))}"}
        for route in ROUTES:
            response = us.ask(route, job_id)
            assert_error(response, 401, "session_revoked")
            assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
        assert jobs_of(us.sql) == before


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=40) | st.uuids().map(str)
VALUES: st.SearchStrategy[Any] = SCALARS | st.just([{}])
DOCUMENTS = VALUES | st.dictionaries(st.just("job_id") | st.text(max_size=8), VALUES, max_size=2)
QUERIES = st.dictionaries(st.sampled_from(["job_id", "before", "limit", "x"]), VALUES.map(str))
BODIES = st.binary(max_size=100) | DOCUMENTS.map(json.dumps).map(str.encode)


@given(body=BODIES, query=QUERIES, route=st.sampled_from(ROUTES))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_sent_gives_a_500_or_touches_a_job_that_it_does_not_name(
    us: Us, body: bytes, query: dict[str, str], route: str
) -> None:
    before = jobs_of(us.sql) or [us.row(us.add())]
    sent: Row = {"query_string": query} if route in READS else {"data": body}
    response = us.client.open(route, method="GET" if route in READS else "POST", headers=us.bearer, **sent)
    assert response.status_code in ((200, 400, 404) if route in READS else (400, 404))
    assert jobs_of(us.sql) == before


def test_if_match_is_no_condition_of_a_reader(client: FlaskClient, bearer: dict[str, str]) -> None:
    for etag in ('"nope"', "*"):
        response = client.get("/functions/v1/get-sync-status", headers={**bearer, "If-Match": etag})
        assert (response.status_code, response.get_json()["active"]) == (200, False)
