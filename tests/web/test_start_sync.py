import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.jobs import pending
from service.jobs import people as jobs
from tests.support.database import Sql, add_agency, add_user, jobs_of, login_url
from tests.support.http_assertions import assert_error
from tests.support.statements import Statements
from tests.support.tokens import Tokens

PATH = "/functions/v1/start-historical-sync"


def test_a_start_creates_a_pending_job_for_the_callers_agency(
    client: FlaskClient, bearer: dict[str, str], sql: Sql, agency_id: UUID, user_id: UUID
) -> None:
    before = datetime.now(UTC)
    response = client.post(PATH, headers=bearer, json={"date_from": "2026-01-01"})

    [job] = jobs_of(sql)
    assert response.status_code == 200
    assert response.json == {"job_id": str(job["id"]), "status": "pending"}
    assert (job["agency_id"], job["requested_by"], job["status"]) == (agency_id, user_id, "pending")
    assert job["date_from"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert before - timedelta(seconds=5) < job["date_to"] <= datetime.now(UTC) + timedelta(seconds=5)


def test_the_path_without_supabases_prefix_is_the_same_function(
    client: FlaskClient, bearer: dict[str, str], sql: Sql
) -> None:
    assert client.post("/start-historical-sync", headers=bearer).status_code == 200
    assert len(jobs_of(sql)) == 1


@pytest.mark.parametrize("body", [b"", b"{}", b'{"date_from": null, "date_to": null}', b"\xef\xbb\xbf{}"])
@pytest.mark.parametrize(
    "content_type", [None, "application/json", "application/x-www-form-urlencoded", "text/plain", "nonsense"]
)
def test_no_body_an_empty_one_and_an_empty_object_are_the_same(
    client: FlaskClient, bearer: dict[str, str], sql: Sql, body: bytes, content_type: str | None
) -> None:
    response = client.post(PATH, headers=bearer, data=body, content_type=content_type)

    [job] = jobs_of(sql)
    assert response.status_code == 200
    assert job["date_from"] is None
    assert job["date_to"] == job["created_at"]


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2025-03-01", datetime(2025, 3, 1, tzinfo=UTC)),
        ("20250301", datetime(2025, 3, 1, tzinfo=UTC)),
        ("2025-W09-6", datetime(2025, 3, 1, tzinfo=UTC)),
        ("2025-03-01T10:30", datetime(2025, 3, 1, 10, 30, tzinfo=UTC)),
        ("2025-03-01 10:30:15", datetime(2025, 3, 1, 10, 30, 15, tzinfo=UTC)),
        ("2025-03-01T10:30:15.25Z", datetime(2025, 3, 1, 10, 30, 15, 250_000, tzinfo=UTC)),
        ("2025-03-01t10:30:15.123456789z", datetime(2025, 3, 1, 10, 30, 15, 123_456, tzinfo=UTC)),
        ("2025-03-01T10:30:15+02:00", datetime(2025, 3, 1, 8, 30, 15, tzinfo=UTC)),
        ("2025-03-01T10:30:15-0530", datetime(2025, 3, 1, 16, 0, 15, tzinfo=UTC)),
        ("2025-03-01T10:30:15,5", datetime(2025, 3, 1, 10, 30, 15, 500_000, tzinfo=UTC)),
        ("0001-01-01", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_iso_8601_is_understood_and_utc_where_it_says_nothing(
    client: FlaskClient, bearer: dict[str, str], sql: Sql, text: str, instant: datetime
) -> None:
    assert client.post(PATH, headers=bearer, json={"date_from": text}).status_code == 200
    assert jobs_of(sql)[0]["date_from"].astimezone(UTC) == instant


def test_a_range_may_reach_to_the_last_year_and_comes_back_as_it_was_sent(
    client: FlaskClient, bearer: dict[str, str]
) -> None:
    body = {"date_from": "0001-01-01", "date_to": "9999-12-31T23:59:59.999999Z"}
    assert client.post(PATH, headers=bearer, json=body).status_code == 200
    conflict = client.post(PATH, headers=bearer)

    assert conflict.json is not None
    assert conflict.json["job"]["date_from"] == "0001-01-01T00:00:00Z"
    assert conflict.json["job"]["date_to"] == "9999-12-31T23:59:59.999999Z"


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "yesterday",
        "2025",
        "2025-13-01",
        "2025-02-30",
        "2025-03-01T25:00",
        "2025-03-01T10.5",
        "2025-03-01T10:30.5",
        "2025-03-01T",
        "2025-03-01T10:30+99:00",
        "2025-03-01x10:30",
        "2025-03-01T10:30 ",
        "２０２５-03-01",
        "2025-03-01\u0000",
        "\ud800",
        "infinity",
        "+12025-03-01T00:00:00Z",
        "-0001-01-01",
        "0000-01-01",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        1_700_000_000,
        1.5,
        True,
        [],
        {},
        ["2025-03-01"],
    ],
)
@pytest.mark.parametrize("field", ["date_from", "date_to"])
def test_a_bad_date_is_refused_by_name(
    client: FlaskClient, bearer: dict[str, str], sql: Sql, field: str, value: object
) -> None:
    response = client.post(PATH, headers=bearer, data=json.dumps({field: value}))

    assert_error(response, 400, "invalid_fields", fields=[field])
    assert jobs_of(sql) == []


def test_every_bad_field_is_named_at_once(client: FlaskClient, bearer: dict[str, str]) -> None:
    response = client.post(PATH, headers=bearer, json={"date_from": "x", "date_to": 1, "dateTo": "2026-01-01"})
    assert_error(response, 400, "invalid_fields", fields=["date_from", "date_to", "dateTo"])


@pytest.mark.parametrize(
    "body",
    [
        {"date_from": "2025-03-01", "date_to": "2025-03-01"},
        {"date_from": "2025-03-02", "date_to": "2025-03-01"},
        {"date_from": "2025-03-01T00:00:00-01:00", "date_to": "2025-03-01"},
        {"date_from": "2999-01-01"},
        pytest.param({"date_from": (datetime.now(UTC) + timedelta(minutes=10)).isoformat()}, id="in ten minutes"),
    ],
)
def test_an_empty_or_reversed_range_is_refused(
    client: FlaskClient, bearer: dict[str, str], sql: Sql, body: dict[str, str]
) -> None:
    assert_error(client.post(PATH, headers=bearer, json=body), 400, "invalid_fields", fields=["date_from"])
    assert jobs_of(sql) == []


@pytest.mark.parametrize("name", ["dateFrom", "agency_id", "", "date_from ", "ключ", "\ud800", "a\u0000b"])
def test_an_unknown_field_is_refused_by_name(client: FlaskClient, bearer: dict[str, str], sql: Sql, name: str) -> None:
    response = client.post(PATH, headers=bearer, data=json.dumps({name: "2025-03-01"}))

    assert_error(response, 400, "invalid_fields", fields=[name])
    assert jobs_of(sql) == []


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b'"2025-03-01"',
        b"1",
        b"NaN",
        b'{"date_from": NaN}',
        b"{",
        b"{}{}",
        b" ",
        b"date_from=2025-03-01",
        b"[" * 16_000,
        b'{"date_from":' * 1_200,
        b'{"date_from": ' + b"9" * 16_000 + b"}",
        b"\xff\xfe{\x00}\x00",
        b'{"date_from": "\xff"}',
        b"\x1f\x8b\x08\x00",
    ],
)
def test_a_body_that_is_not_a_json_object_is_refused(
    client: FlaskClient, bearer: dict[str, str], sql: Sql, body: bytes
) -> None:
    response = client.post(PATH, headers=bearer, data=body, content_type="application/json")

    assert response.status_code == 400
    assert response.json is not None
    assert response.json["code"] in ("invalid_body", "invalid_fields")
    assert "fields" in response.json
    assert jobs_of(sql) == []


def test_a_body_over_16_kib_is_too_large_and_one_of_16_kib_is_not(
    client: FlaskClient, bearer: dict[str, str], sql: Sql
) -> None:
    padded = b"{" + b" " * (16 * 1024 - 2) + b"}"

    assert_error(client.post(PATH, headers=bearer, data=padded + b" "), 413, "body_too_large")
    assert jobs_of(sql) == []
    assert client.post(PATH, headers=bearer, data=padded).status_code == 200


def test_a_second_start_names_the_active_job(client: FlaskClient, bearer: dict[str, str], sql: Sql) -> None:
    first = client.post(PATH, headers=bearer, json={"date_from": "2026-01-01", "date_to": "2026-02-01"})
    second = client.post(PATH, headers=bearer)

    [row] = jobs_of(sql)
    assert first.json is not None
    body = assert_error(second, 409, "sync_already_active")
    assert "already exists" in body["error"]
    assert body["job"] == {
        "id": first.json["job_id"],
        "status": "pending",
        "date_from": "2026-01-01T00:00:00Z",
        "date_to": "2026-02-01T00:00:00Z",
        "total_calls": None,
        "processed_calls": 0,
        "imported_calls": 0,
        "skipped_calls": 0,
        "failed_calls": 0,
        "progress_percent": None,
        "eta": None,
        "requested_by": str(row["requested_by"]),
        "created_at": row["created_at"].astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "started_at": None,
        "last_activity_at": None,
        "completed_at": None,
        "attempt": 0,
        "next_attempt_at": None,
        "error_message": None,
        "verification": None,
        "missing_calls": None,
    }


@pytest.mark.parametrize("status", ["pending", "in_progress"])
def test_a_job_in_either_active_state_is_in_the_way(
    client: FlaskClient, bearer: dict[str, str], sql: Sql, status: str
) -> None:
    client.post(PATH, headers=bearer)
    sql.execute("update public.historical_sync_jobs set status = %s", [status])

    body = assert_error(client.post(PATH, headers=bearer), 409, "sync_already_active")
    assert body["job"]["status"] == status


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_finished_job_is_not_in_the_way(client: FlaskClient, bearer: dict[str, str], sql: Sql, status: str) -> None:
    client.post(PATH, headers=bearer)
    sql.execute("update public.historical_sync_jobs set status = %s", [status])

    assert client.post(PATH, headers=bearer).status_code == 200
    assert sorted(job["status"] for job in jobs_of(sql)) == sorted([status, "pending"])


def test_another_agencys_job_is_not_in_the_way(
    client: FlaskClient, bearer: dict[str, str], sql: Sql, tokens: Tokens
) -> None:
    other = add_user(sql, add_agency(sql, "Other"))
    client.post(PATH, headers=bearer)
    response = client.post(PATH, headers={"Authorization": f"Bearer {tokens.sign(sub=str(other))}"})

    assert response.status_code == 200
    assert len({job["agency_id"] for job in jobs_of(sql)}) == 2


def test_of_fifty_concurrent_starts_one_wins_and_the_rest_are_told(
    app: Flask, bearer: dict[str, str], sql: Sql
) -> None:
    def start(_: int) -> Any:
        return app.test_client().post(PATH, headers=bearer)

    with ThreadPoolExecutor(50) as threads:
        responses = list(threads.map(start, range(50)))

    [job] = jobs_of(sql)
    assert sorted(response.status_code for response in responses) == [200] + [409] * 49
    assert {r.json["job"]["id"] for r in responses if r.status_code == 409} == {str(job["id"])}


@pytest.mark.parametrize("has_row", [True, False])
def test_a_user_without_an_agency_is_forbidden(client: FlaskClient, sql: Sql, tokens: Tokens, has_row: bool) -> None:
    user = add_user(sql, None) if has_row else uuid4()
    response = client.post(PATH, headers={"Authorization": f"Bearer {tokens.sign(sub=str(user))}"})

    assert_error(response, 403, "no_agency")
    assert jobs_of(sql) == []


@pytest.mark.parametrize("role", ["owner", "member", "viewer"])
def test_any_role_may_start(client: FlaskClient, bearer: dict[str, str], sql: Sql, role: str) -> None:
    sql.execute("update public.users set role = %s", [role])
    assert client.post(PATH, headers=bearer).status_code == 200


def test_the_checks_come_in_the_order_method_token_body_user(client: FlaskClient, tokens: Tokens) -> None:
    stranger = {"Authorization": f"Bearer {tokens.sign()}"}
    too_large, bad = b" " * 17_000, b'{"date_from": "2999-01-01"}'

    assert client.put(PATH, data=too_large).status_code == 405
    assert client.post(PATH, data=too_large).status_code == 401
    assert client.post(PATH, headers=stranger, data=too_large).status_code == 413
    assert client.post(PATH, headers=stranger, data=bad).status_code == 400
    assert client.post(PATH, headers=stranger).status_code == 403


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.dates().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
DATE_LIKE = st.from_regex(r"[0-9+-]{4,6}-[0-9]{2}-[0-9]{2}([T ][0-9:.]{0,12}(Z|[+-][0-9:]{2,6})?)?", fullmatch=True)
BODIES = st.one_of(
    st.binary(max_size=200),
    JSON.map(json.dumps).map(str.encode),
    st.fixed_dictionaries(
        {}, optional={"date_from": DATE_LIKE | JSON, "date_to": DATE_LIKE | st.datetimes().map(str) | JSON}
    )
    .map(json.dumps)
    .map(str.encode),
)


@given(body=BODIES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_ever_gives_a_500_or_leaves_a_row_after_a_refusal(
    client: FlaskClient, bearer: dict[str, str], sql: Sql, body: bytes
) -> None:
    sql.execute("delete from public.historical_sync_jobs")
    response = client.post(PATH, headers=bearer, data=body)

    assert response.status_code in (200, 400), response.data
    assert len(jobs_of(sql)) == (1 if response.status_code == 200 else 0)


def test_a_start_is_one_statement_and_a_conflict_two(
    make_app: Callable[..., Flask], bearer: dict[str, str], statements: Statements
) -> None:
    client = make_app(
        database_url=login_url(statements.url, "historical_sync_service"), database_pool_size=1
    ).test_client()
    client.get("/readyz")  # connects

    with statements.counted() as start:
        assert client.post(PATH, headers=bearer).status_code == 200
    with statements.counted() as conflict:
        assert client.post(PATH, headers=bearer).status_code == 409

    assert (start.round_trips, conflict.round_trips) == (1, 2)


def test_a_job_that_ends_between_the_two_statements_of_a_conflict_is_no_longer_in_the_way(
    client: FlaskClient, bearer: dict[str, str], sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post(PATH, headers=bearer)
    active = jobs.active

    def active_after_the_end(*arguments: Any) -> Any:
        sql.execute("update public.historical_sync_jobs set status = 'completed'")
        return active(*arguments)

    monkeypatch.setattr(jobs, "active", active_after_the_end)

    assert client.post(PATH, headers=bearer).status_code == 200
    assert sorted(job["status"] for job in jobs_of(sql)) == ["completed", "pending"]


@pytest.mark.parametrize(
    ("patience", "status", "code", "tries"), [(0, 503, "database_busy", 1), (60, 500, "internal_error", 2)]
)
def test_a_conflict_without_an_active_job_is_tried_again_once_and_not_after_two_slow_statements(
    make_app: Callable[..., Flask],
    bearer: dict[str, str],
    sql: Sql,
    statements: Statements,
    monkeypatch: pytest.MonkeyPatch,
    patience: float,
    status: int,
    code: str,
    tries: int,
) -> None:
    url = login_url(statements.url, "historical_sync_service")
    client = make_app(database_url=url, database_pool_size=1).test_client()
    client.post(PATH, headers=bearer)
    monkeypatch.setattr(jobs, "active", lambda *_: None)
    monkeypatch.setattr(pending, "AGAIN_WITHIN_SECONDS", patience)

    with statements.counted() as count:
        response = client.post(PATH, headers=bearer)

    assert_error(response, status, code)
    assert (count.round_trips, len(jobs_of(sql))) == (tries, 1)


class TestOldFunction:
    """A database can bring its own create_historical_sync_job()."""

    @pytest.fixture
    def database_url(self, own_database_url: str) -> str:
        return own_database_url

    def replace_function(self, sql: Sql, body: str) -> None:
        sql.execute(
            f"""
            create or replace function public.create_historical_sync_job(
                p_agency_id uuid, p_date_from timestamptz, p_date_to timestamptz
            ) returns uuid language plpgsql security definer as $$ begin {body} end $$
            """
        )

    def test_its_raised_exception_is_a_conflict(self, client: FlaskClient, bearer: dict[str, str], sql: Sql) -> None:
        client.post(PATH, headers=bearer)
        self.replace_function(sql, "raise exception 'An active sync job already exists for this agency';")

        body = assert_error(client.post(PATH, headers=bearer), 409, "sync_already_active")
        assert body["job"]["id"] == str(jobs_of(sql)[0]["id"])

    @pytest.mark.parametrize(
        "body",
        [
            "raise exception 'no';",
            "raise exception 'no' using detail = 'it already exists';",
            "raise unique_violation using message = 'already exists', constraint = 'calls_pkey';",
            "perform 1 / 0;",
            "raise exception 'secret of the database' using errcode = '22P02';",
        ],
    )
    def test_any_other_failure_is_a_500_that_shows_nothing(
        self, client: FlaskClient, bearer: dict[str, str], sql: Sql, body: str
    ) -> None:
        self.replace_function(sql, body)

        response = client.post(PATH, headers=bearer)

        answer = assert_error(response, 500, "internal_error")
        assert answer["request_id"] == response.headers["X-Request-ID"]
        assert not any(word in response.text.lower() for word in ("exception", "sql", "secret", "exists", "timeout"))
        assert jobs_of(sql) == []

    def test_another_unique_index_of_the_table_is_not_a_conflict(
        self, client: FlaskClient, bearer: dict[str, str], tokens: Tokens, sql: Sql
    ) -> None:
        sql.execute("create unique index other on public.historical_sync_jobs (date_from)")
        stranger = {"Authorization": f"Bearer {tokens.sign(sub=str(add_user(sql, add_agency(sql))))}"}
        body = {"date_from": "2025-01-01"}

        assert client.post(PATH, headers=bearer, json=body).status_code == 200
        assert_error(client.post(PATH, headers=stranger, json=body), 500, "internal_error")

    def test_it_records_who_asked_too(
        self, client: FlaskClient, bearer: dict[str, str], sql: Sql, user_id: UUID
    ) -> None:
        self.replace_function(
            sql,
            """declare v_id uuid; begin
            insert into public.historical_sync_jobs (agency_id, date_to) values (p_agency_id, p_date_to)
            returning id into v_id; return v_id; end;""",
        )
        assert client.post(PATH, headers=bearer).status_code == 200
        assert jobs_of(sql)[0]["requested_by"] == user_id


class TestRevocation:
    """A database with Supabase's `auth` schema."""

    SESSION = "5e551011-0000-4000-8000-000000000000"

    @pytest.fixture
    def database_url(self, own_database_url: str) -> str:
        with psycopg.connect(own_database_url, autocommit=True) as conn:
            conn.execute(
                """
                create schema auth;
                create table auth.users (id uuid primary key, banned_until timestamptz, deleted_at timestamptz);
                create table auth.sessions (id uuid primary key, user_id uuid references auth.users);
                alter table auth.users enable row level security;
                alter table auth.sessions enable row level security;
                """
            )
        return own_database_url

    @pytest.fixture
    def auth_user(self, sql: Sql, user_id: UUID) -> UUID:
        sql.execute("insert into auth.users (id) values (%s)", [user_id])
        sql.execute("insert into auth.sessions (id, user_id) values (%s, %s)", [self.SESSION, user_id])
        return user_id

    def start(self, client: FlaskClient, tokens: Tokens, user_id: UUID, session_id: str | None = SESSION) -> Any:
        token = tokens.sign(sub=str(user_id), session_id=session_id)
        return client.post(PATH, headers={"Authorization": f"Bearer {token}"})

    def test_a_live_session_may_start(self, client: FlaskClient, tokens: Tokens, auth_user: UUID) -> None:
        assert self.start(client, tokens, auth_user).status_code == 200

    def test_a_token_without_a_session_skips_the_session_part(
        self, client: FlaskClient, tokens: Tokens, auth_user: UUID
    ) -> None:
        assert self.start(client, tokens, auth_user, session_id=None).status_code == 200

    @pytest.mark.parametrize(
        "revocation",
        [
            "delete from auth.sessions",
            "delete from auth.sessions; delete from auth.users",
            "update auth.users set banned_until = now() + interval '1 hour'",
            "update auth.users set deleted_at = now()",
            """
            insert into auth.users (id) values ('00000000-0000-4000-8000-000000000009');
            update auth.sessions set user_id = '00000000-0000-4000-8000-000000000009'
            """,
        ],
    )
    def test_a_revoked_one_may_not(
        self, client: FlaskClient, tokens: Tokens, sql: Sql, auth_user: UUID, revocation: str
    ) -> None:
        sql.execute(revocation)
        response = self.start(client, tokens, auth_user)

        assert_error(response, 401, "session_revoked")
        assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
        assert jobs_of(sql) == []

    def test_a_revoked_user_without_an_agency_is_unauthorized_before_forbidden(
        self, client: FlaskClient, tokens: Tokens
    ) -> None:
        assert_error(self.start(client, tokens, uuid4()), 401, "session_revoked")

    def test_a_ban_that_is_over_is_over(self, client: FlaskClient, tokens: Tokens, sql: Sql, auth_user: UUID) -> None:
        sql.execute("update auth.users set banned_until = now() - interval '1 hour'")
        assert self.start(client, tokens, auth_user).status_code == 200
