"""A database in which somebody else is in the way: a migration, a backup, another start that has not committed."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.database import Conn, Database
from service.errors import DatabaseBusyError
from service.settings import Settings
from tests.support.database import Sql, jobs_of, login_url, url_with
from tests.support.http_assertions import assert_error

START = "/functions/v1/start-historical-sync"
INSERT = "insert into public.historical_sync_jobs (agency_id, date_to) values (%s, now())"
LOCKED_ROW = "select * from public.historical_sync_jobs for update nowait"


@pytest.fixture
def other(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else's session, in a transaction."""
    with psycopg.connect(database_url) as conn:
        yield conn
        conn.rollback()


@pytest.fixture
def impatient_url(database_url: str) -> str:
    """Locks are waited for during a quarter of a second."""
    return url_with(login_url(database_url, "historical_sync_service"), statement_timeout="500ms")


@pytest.fixture
def impatient(make_app: Callable[..., Flask], impatient_url: str) -> FlaskClient:
    return make_app(database_url=impatient_url).test_client()


def test_a_start_behind_one_that_has_not_committed_is_told_to_come_back(
    impatient: FlaskClient,
    client: FlaskClient,
    bearer: dict[str, str],
    sql: Sql,
    other: psycopg.Connection[Any],
    agency_id: UUID,
) -> None:
    other.execute(INSERT, [agency_id])
    response = impatient.post(START, headers=bearer)
    other.rollback()

    assert_error(response, 503, "database_busy")
    assert int(response.headers["Retry-After"]) >= 1
    assert jobs_of(sql) == []
    assert client.post(START, headers=bearer).status_code == 200


def test_it_starts_nothing_beside_the_one_that_commits(
    impatient: FlaskClient,
    client: FlaskClient,
    bearer: dict[str, str],
    sql: Sql,
    other: psycopg.Connection[Any],
    agency_id: UUID,
) -> None:
    other.execute(INSERT, [agency_id])
    assert_error(impatient.post(START, headers=bearer), 503, "database_busy")
    other.commit()

    [job] = jobs_of(sql)
    conflict = assert_error(client.post(START, headers=bearer), 409, "sync_already_active")
    assert conflict["job"]["id"] == str(job["id"])


@pytest.mark.parametrize(
    ("method", "function"),
    [
        ("POST", "start-historical-sync"),
        ("POST", "cancel-historical-sync"),
        ("POST", "resume-historical-sync"),
        ("GET", "get-sync-status"),
        ("GET", "list-sync-jobs"),
    ],
)
def test_a_locked_table_is_a_busy_database_for_every_function(
    impatient: FlaskClient,
    client: FlaskClient,
    bearer: dict[str, str],
    sql: Sql,
    other: psycopg.Connection[Any],
    method: str,
    function: str,
) -> None:
    started = client.post(START, headers=bearer)
    assert started.json is not None
    before = jobs_of(sql)
    body = {"job_id": started.json["job_id"]} if function.startswith(("cancel", "resume")) else None

    other.execute("lock table public.historical_sync_jobs in access exclusive mode")
    response = impatient.open(f"/functions/v1/{function}", method=method, headers=bearer, json=body)
    other.rollback()

    assert_error(response, 503, "database_busy")
    assert jobs_of(sql) == before


def test_a_lock_is_given_up_before_the_statement_times_out(
    make_settings: Callable[..., Settings], other: psycopg.Connection[Any], database_url: str
) -> None:
    url = url_with(login_url(database_url, "historical_sync_service"), statement_timeout="4s")
    database = Database.of_service(make_settings(database_url=url))
    other.execute("lock table public.users in access exclusive mode")

    with pytest.raises(DatabaseBusyError) as raised, database.connection() as conn:
        conn.execute("select id from public.users")
    database.close()

    assert "55P03" in str(raised.value)


@pytest.fixture
def processors(make_settings: Callable[..., Settings], database_url: str) -> Iterator[Database]:
    # As the owner, who may lock the rows.
    database = Database.of_processor(make_settings(processor_database_url=database_url))
    yield database
    database.close()


def test_a_statement_that_may_be_repeated_is_repeated_until_the_database_is_no_longer_busy(
    processors: Database, sql: Sql, other: psycopg.Connection[Any], agency_id: UUID
) -> None:
    sql.execute(INSERT, [agency_id])
    other.execute("update public.historical_sync_jobs set imported_calls = 7")
    tries = []

    def statement(conn: Conn) -> int:
        tries.append(conn)
        if len(tries) == 2:
            other.commit()
        return int(conn.execute(LOCKED_ROW).fetchall()[0]["imported_calls"])

    assert processors.run_through_outages(statement, seconds=60) == 7
    assert len(tries) == 2


def test_it_is_not_repeated_for_ever(
    processors: Database, sql: Sql, other: psycopg.Connection[Any], agency_id: UUID
) -> None:
    sql.execute(INSERT, [agency_id])
    other.execute("update public.historical_sync_jobs set imported_calls = 7")

    with pytest.raises(DatabaseBusyError):
        processors.run_through_outages(lambda conn: conn.execute(LOCKED_ROW), seconds=0.1)


class TestSlowFunction:
    """A database whose own create_historical_sync_job() takes for ever."""

    @pytest.fixture
    def database_url(self, own_database_url: str) -> str:
        with psycopg.connect(own_database_url, autocommit=True) as conn:
            conn.execute(
                """
                create or replace function public.create_historical_sync_job(
                    p_agency_id uuid, p_date_from timestamptz, p_date_to timestamptz
                ) returns uuid language plpgsql security definer as $$
                declare
                    v_id uuid;
                begin
                    insert into public.historical_sync_jobs (agency_id, date_to) values (p_agency_id, p_date_to)
                    returning id into v_id;
                    perform pg_sleep(600);
                    return v_id;
                end $$
                """
            )
        return own_database_url

    def test_a_statement_past_its_timeout_is_a_busy_database_and_has_done_nothing(
        self, impatient: FlaskClient, bearer: dict[str, str], sql: Sql
    ) -> None:
        response = impatient.post(START, headers=bearer)

        assert_error(response, 503, "database_busy")
        assert "timeout" not in response.text
        assert jobs_of(sql) == []
