import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from psycopg import errors

from service.migrate import MIGRATIONS, migrate
from tests.catalog import connect
from tests.conftest import Sql
from tests.projects import OLD_FUNCTION, ORIGINAL, SUPABASE

ROOT = Path(__file__).resolve().parent.parent


def columns(conn: Sql) -> set[tuple[str, str, str, str]]:
    rows = conn.execute(
        """
        select table_name, column_name, udt_name, is_nullable
        from information_schema.columns where table_schema = 'public'
        """
    ).fetchall()
    return {(r["table_name"], r["column_name"], r["udt_name"], r["is_nullable"]) for r in rows}


@pytest.fixture
def empty_url(create_database: Callable[..., str]) -> str:
    return create_database()


@pytest.mark.parametrize("before", ["", SUPABASE, SUPABASE + ORIGINAL, SUPABASE + ORIGINAL + OLD_FUNCTION])
def test_every_kind_of_database_gets_what_is_missing_and_keeps_what_it_has(empty_url: str, before: str) -> None:
    with connect(empty_url) as conn:
        conn.execute(before)
        had = columns(conn)

        applied = migrate(empty_url)

        assert len(applied) == len(list(MIGRATIONS.glob("*.sql")))
        assert had <= columns(conn)
        expected = {
            ("historical_sync_jobs", "requested_by", "uuid", "YES"),
            ("historical_sync_jobs", "attempt", "int4", "NO"),
            ("historical_sync_jobs", "date_to", "timestamptz", "NO"),
            ("historical_sync_jobs", "status", "sync_job_status", "NO"),
            ("historical_sync_jobs", "max_calls", "int4", "YES"),
            ("agencies", "ultravox_api_key_encrypted", "bytea", "YES"),
            ("users", "agency_id", "uuid", "YES"),
            ("calls", "data", "jsonb", "NO"),
        }
        assert expected <= columns(conn)


@pytest.mark.parametrize("before", [SUPABASE + ORIGINAL, SUPABASE + ORIGINAL + OLD_FUNCTION])
def test_rows_of_an_original_table_stay_and_its_active_job_is_in_the_way(empty_url: str, before: str) -> None:
    with connect(empty_url) as conn:
        conn.execute(before)
        migrate(empty_url)
        rows = conn.execute("select status, processed_calls from public.historical_sync_jobs").fetchall()
        assert sorted((row["status"], row["processed_calls"]) for row in rows) == [("completed", 7), ("pending", 0)]

        with pytest.raises((errors.UniqueViolation, errors.RaiseException), match="already exists"):
            create_job(conn)


def create_job(conn: Sql) -> Any:
    return conn.execute(
        """
        select public.create_historical_sync_job(
            p_agency_id => (select id from public.agencies), p_date_from => null, p_date_to => now())
        """
    ).fetchall()


def test_a_duplicate_fails_with_a_unique_violation_that_says_so(empty_url: str) -> None:
    migrate(empty_url)
    with connect(empty_url) as conn:
        conn.execute("insert into public.agencies (name) values ('A')")
        create_job(conn)
        with pytest.raises(errors.UniqueViolation) as raised:
            create_job(conn)

    assert raised.value.sqlstate == "23505"
    assert raised.value.diag.constraint_name == "historical_sync_jobs_one_active_per_agency"
    assert "already exists" in (raised.value.diag.message_primary or "")


def test_a_second_run_has_nothing_to_apply(empty_url: str) -> None:
    migrate(empty_url)
    assert migrate(empty_url) == []


@pytest.mark.parametrize("table", ["users", "agencies", "historical_sync_jobs", "calls"])
def test_a_second_run_waits_for_nobody_who_reads(own_database_url: str, table: str) -> None:
    with connect(own_database_url) as conn, conn.transaction():
        conn.execute(f"select from public.{table}")
        assert migrate(own_database_url) == []


def test_each_migration_can_be_repeated_after_a_kill_between_it_and_its_mark(empty_url: str) -> None:
    migrate(empty_url)
    with connect(empty_url) as conn:
        conn.execute("delete from historical_sync._yoyo_migrations")
        conn.execute("insert into historical_sync.yoyo_lock (locked, ctime, pid) values (1, now(), 1)")
    assert len(migrate(empty_url)) == len(list(MIGRATIONS.glob("*.sql")))


def test_four_processes_at_once_apply_each_migration_once(empty_url: str) -> None:
    def run(_: int) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DATABASE_URL": empty_url}
        command = [sys.executable, "-m", "service.migrate"]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(run, range(4)))

    assert [result.returncode for result in results] == [0] * 4, [result.stderr for result in results]
    assert sum("nothing to apply" in result.stdout for result in results) == 3


def test_two_databases_of_one_cluster_can_migrate_at_once(create_database: Callable[..., str]) -> None:
    urls = [create_database() for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        assert all(threads.map(migrate, urls))


@pytest.mark.parametrize("table", ["agencies", "users", "historical_sync_jobs", "calls"])
def test_row_level_security_is_on(sql: Sql, table: str) -> None:
    [row] = sql.execute("select relrowsecurity from pg_class where oid = %s::regclass", [f"public.{table}"]).fetchall()
    assert row["relrowsecurity"]


def test_the_functions_are_closed_to_the_api_roles(empty_url: str) -> None:
    with connect(empty_url) as conn:
        conn.execute(SUPABASE)
        migrate(empty_url)
        functions = conn.execute(
            """
            select oid::regprocedure::text as name,
                has_function_privilege('anon', oid, 'execute') as anon,
                has_function_privilege('authenticated', oid, 'execute') as authenticated
            from pg_proc
            where pronamespace = 'historical_sync'::regnamespace or proname = 'create_historical_sync_job'
            """
        ).fetchall()

    assert functions
    for function in functions:
        assert not function["anon"], function
        assert not function["authenticated"], function


@pytest.mark.parametrize(
    ("constraint", "values"),
    [
        ("sync_jobs_counts_positive", {"processed_calls": -1}),
        ("sync_jobs_counts_positive", {"total_calls": -1}),
        ("sync_jobs_date_range", {"date_from": "2026-01-02", "date_to": "2026-01-02"}),
        ("sync_jobs_attempt_counted", {"attempt": -1}),
        ("sync_jobs_lease_only_in_progress", {"lease_expires_at": "2026-01-01"}),
        ("sync_jobs_next_attempt_only_pending", {"status": "failed", "next_attempt_at": "2026-01-01"}),
        ("sync_jobs_completed_at_only_finished", {"completed_at": "2026-01-01"}),
    ],
)
def test_the_database_refuses_an_impossible_job(
    sql: Sql, agency_id: object, constraint: str, values: dict[str, object]
) -> None:
    row = {"agency_id": agency_id, "date_to": "2026-02-01", **values}
    names, marks = ", ".join(row), ", ".join(["%s"] * len(row))

    with pytest.raises(errors.CheckViolation) as raised:
        sql.execute(
            f"insert into public.historical_sync_jobs ({names}) values ({marks})",
            list(row.values()),
        )
    assert raised.value.diag.constraint_name == constraint


def test_a_missing_url_and_a_database_that_is_away_are_said_in_one_line() -> None:
    for environment, message in (
        ({}, "DATABASE_URL is missing"),
        ({"DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/x"}, "migration failed"),
    ):
        result = subprocess.run(
            [sys.executable, "-m", "service.migrate"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 1
        assert message in result.stderr
        assert "Traceback" not in result.stderr
        assert "hunter2" not in result.stderr
