import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from psycopg import errors

import service.migrate
from service.migrate import MIGRATIONS, MigrationError, migrate
from tests.support.catalog import connect
from tests.support.database import Sql
from tests.support.paths import ROOT
from tests.support.projects import OLD_FUNCTION, ORIGINAL, SUPABASE


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
        ("sync_jobs_dates_representable", {"date_to": "infinity"}),
        ("sync_jobs_dates_representable", {"date_from": "-infinity"}),
        ("sync_jobs_dates_representable", {"date_from": "0001-12-31 23:59:59.999999 BC"}),
        ("sync_jobs_dates_representable", {"date_to": "10000-01-01"}),
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


def test_the_outermost_dates_make_a_job(sql: Sql, agency_id: object) -> None:
    sql.execute(
        "insert into public.historical_sync_jobs (agency_id, date_from, date_to)"
        " values (%s, '0001-01-01 00:00:00+00', '9999-12-31 23:59:59.999999+00')",
        [agency_id],
    )


def run_migrate(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service.migrate"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "DATABASE_URL is missing"),
        ({"DATABASE_URL": "mysql://u:hunter2@127.0.0.1/x"}, "DATABASE_URL is not a postgresql:// URL"),
        ({"DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/x"}, "migration failed: cannot connect: "),
    ],
)
def test_what_keeps_it_from_a_database_is_said_in_one_line(environment: dict[str, str], told: str) -> None:
    result = run_migrate(**environment)
    assert (result.returncode, result.stdout) == (1, "")
    [line] = result.stderr.splitlines()
    assert line.startswith(told)
    assert "hunter2" not in line


def test_a_refusal_is_one_line_and_exit_status_1(empty_url: str) -> None:
    with connect(empty_url) as conn:
        conn.execute("create view public.calls as select 1")
    result = run_migrate(DATABASE_URL=empty_url)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "migration failed: nothing was changed: public.calls is a view and must be an ordinary table:"
        " rename it and migrate again\n"
    )


def test_a_fault_in_a_file_names_it_and_keeps_what_was_applied_before(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "20990101000000_good.sql").write_text("create table historical_sync.good (id int);")
    (tmp_path / "20990101000001_bad.sql").write_text("insert into historical_sync.good values ('bad');")
    monkeypatch.setattr(service.migrate, "MIGRATIONS", tmp_path)
    with pytest.raises(MigrationError) as raised:
        migrate(empty_url)
    assert str(raised.value) == (
        'stopped at 20990101000001_bad: invalid input syntax for type integer: "bad";'
        " what was applied before stays; mend this and migrate again"
    )
    with connect(empty_url) as conn:
        applied = conn.execute("select migration_id from historical_sync._yoyo_migrations").fetchall()
    assert applied == [{"migration_id": "20990101000000_good"}]


def test_a_table_in_use_is_waited_for_no_longer_than_the_dashboard_can_bear(
    own_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.migrate, "WAIT_FOR_TABLES", "50ms")
    with connect(own_database_url) as conn:
        conn.execute("drop trigger historical_sync_jobs_finished_inserted on historical_sync_jobs")  # to be made anew
    with connect(own_database_url) as conn, conn.transaction():
        conn.execute("lock table historical_sync_jobs in exclusive mode")
        with pytest.raises(MigrationError, match="end that, or wait, and migrate again"):
            migrate(own_database_url)


def test_another_migration_is_not_waited_for_for_ever(own_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.migrate, "WAIT_FOR_ANOTHER", "50ms")
    with connect(own_database_url) as conn:
        conn.execute("select pg_advisory_lock(%s)", [service.migrate.ADVISORY_LOCK])
        with pytest.raises(MigrationError, match="another migration does not end"):
            migrate(own_database_url)


def test_a_container_whose_user_has_no_name_can_migrate(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert migrate(empty_url)


def test_a_limit_of_the_owners_own_ends_no_migration(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "1_functions").mkdir()
    for name in ("20990101000000_dated.sql", "1_functions/one.sql"):
        (tmp_path / name).write_text("do $$ begin assert current_setting('statement_timeout') = '0'; end $$")
    monkeypatch.setattr(service.migrate, "MIGRATIONS", tmp_path)
    monkeypatch.setattr(service.migrate, "FUNCTIONS", tmp_path)
    with connect(empty_url) as conn:
        conn.execute(f"alter database {conn.info.dbname} set statement_timeout = '20s'")
    assert migrate(empty_url) == ["20990101000000_dated"]
