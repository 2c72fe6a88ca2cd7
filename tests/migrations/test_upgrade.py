"""From a database of the released version to this one: nothing is lost, and it ends where a new one begins."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

import service.migrate
from service.local.standin import StandinServer
from service.migrate import MIGRATIONS, migrate
from tests.support.catalog import connect, facts
from tests.support.database import Sql
from tests.support.importing import KEY
from tests.support.processing import KEY as COMMON_KEY
from tests.support.processing import Processors
from tests.support.projects import IMPOSSIBLE_JOBS, ORIGINAL, SUPABASE
from tests.support.released import (
    CANCELLED,
    CREDENTIALS_KEY,
    IN_MID_IMPORT,
    INFINITE,
    PREHISTORIC,
    load_released,
    source_calls,
)

TABLES = {
    "public.agencies": "id",
    "public.users": "id",
    "public.historical_sync_jobs": "id",
    "public.calls": "agency_id || '/' || ultravox_call_id",
    # Those of other jobs are planned anew when the job is claimed.
    "(select windows.* from historical_sync.windows join historical_sync_jobs as job on job.id = job_id"
    " where status = 'completed')": "id",
    "historical_sync.ultravox_requests": "status",
}
UNWORKABLE = "This job cannot be worked on: {}. Start a new one."


def rows(conn: Sql) -> dict[tuple[str, str], dict[str, Any]]:
    """Return every row by its table and key, as JSON: Python has no infinity among its dates."""
    return {
        (table, row["key"]): row["row"]
        for table, key in TABLES.items()
        for row in conn.execute(f"select ({key})::text as key, to_jsonb(known) as row from {table} as known")
    }


def test_an_upgrade_loses_no_row_and_changes_only_what_nobody_could_work_with(
    create_database: Callable[..., str],
) -> None:
    url = load_released(create_database)
    with connect(url) as conn:
        before = rows(conn)
        migrate(url)
        after = rows(conn)

    # A later version may add columns; those that were there are as they were.
    changed = {
        (key[0], row.get("agency_id")): {name: after[key][name] for name in row if row[name] != after[key][name]}
        for key, row in before.items()
        if row != {name: after[key][name] for name in row}
    }
    failed = changed[("public.historical_sync_jobs", str(INFINITE))]
    assert failed["status"] == "failed"
    assert failed["error_message"] == UNWORKABLE.format("its dates are not within the years 1 to 9999")
    assert set(failed) == {"status", "error_message", "completed_at", "last_error_at"}
    claimed = changed[("public.historical_sync_jobs", str(PREHISTORIC))]
    assert (claimed["status"], claimed["lease_expires_at"]) == ("failed", None)
    fetched = [change for (table, _), change in changed.items() if table == "public.calls"]
    assert [set(change) for change in fetched] == [{"fetched_at"}]
    assert len(changed) == 3


def test_no_call_is_from_the_future_after_an_upgrade(create_database: Callable[..., str]) -> None:
    url = load_released(create_database)
    with connect(url) as conn:
        future = "select count(*) from public.calls where fetched_at > now()"
        assert conn.execute(future).fetchall() == [{"count": 1}]
        migrate(url)
        assert conn.execute(future).fetchall() == [{"count": 0}]


def test_an_upgraded_database_has_the_schema_of_a_new_one(create_database: Callable[..., str], sql: Sql) -> None:
    url = load_released(create_database)
    with connect(url) as conn:
        # A check that an old row breaks cannot be valid.
        conn.execute("truncate public.agencies cascade")
        migrate(url)
        assert facts(conn) ^ facts(sql) == set()


def test_a_job_in_mid_import_and_a_cancelled_one_are_finished_after_an_upgrade(
    create_database: Callable[..., str], template: str, tmp_path: Path
) -> None:
    url = load_released(create_database)
    migrate(url)
    expected = {call["callId"]: call for call in source_calls()}
    with (
        connect(url) as conn,
        closing(Processors(url, tmp_path)) as processors,
        StandinServer({KEY: source_calls(), COMMON_KEY: source_calls()}) as api,
    ):
        [cancelled] = conn.execute(
            "select id from public.historical_sync_jobs where agency_id = %s and status = 'cancelled'", [CANCELLED]
        ).fetchall()
        conn.execute("select * from historical_sync.resume_job(%s, %s)", [CANCELLED, cancelled["id"]])
        done = processors.run(api, CREDENTIALS_KEY=CREDENTIALS_KEY)
        assert {result["status"] for result in done.outcome["results"]} == {"completed"}
        for agency_id in (CANCELLED, IN_MID_IMPORT):
            [job] = conn.execute(
                "select * from public.historical_sync_jobs where agency_id = %s", [agency_id]
            ).fetchall()
            stored = conn.execute("select ultravox_call_id, data from public.calls where agency_id = %s", [agency_id])
            assert {row["ultravox_call_id"]: row["data"] for row in stored} == expected
            assert (job["status"], job["processed_calls"], job["total_calls"]) == ("completed", 40, 40)
            assert job["imported_calls"] + job["skipped_calls"] == 40


def jobs(conn: Sql) -> set[tuple[Any, ...]]:
    query = """
        select id::text, agency_id::text, date_from::text, date_to::text, status::text, processed_calls, error_message,
            lease_expires_at, next_attempt_at, completed_at is not null as completed, last_error_at is not null as erred
        from public.historical_sync_jobs
        where id::text like '00000000-%'
    """
    return {tuple(row.values()) for row in conn.execute(query)}


def test_a_project_ends_the_same_whether_the_released_version_has_adopted_it_or_this_one(
    create_database: Callable[..., str],
) -> None:
    upgraded, adopted = load_released(create_database, "released_project"), create_database()
    with connect(upgraded) as before, connect(adopted) as now:
        now.execute(SUPABASE + ORIGINAL + IMPOSSIBLE_JOBS)
        migrate(upgraded)
        migrate(adopted)
        assert facts(before) ^ facts(now) == set()
        assert jobs(before) ^ jobs(now) == set()


@pytest.fixture
def project(create_database: Callable[..., str]) -> str:
    url = load_released(create_database, "released_project")
    migrate(url)
    return url


def test_a_job_that_breaks_a_check_is_failed_and_says_why_and_a_finished_one_is_left_alone(project: str) -> None:
    with connect(project) as conn:
        told = {id_[-2:]: (status, message) for id_, _, _, _, status, _, message, *_ in jobs(conn)}
    assert told == {
        "d1": ("failed", UNWORKABLE.format("one of its counts is negative")),
        "d2": ("failed", UNWORKABLE.format("its date_from is not before its date_to")),
        "d3": ("failed", UNWORKABLE.format("its dates are not within the years 1 to 9999")),
        "d4": ("failed", UNWORKABLE.format("its dates are not within the years 1 to 9999")),
        "d5": ("pending", None),
        "d6": ("failed", None),
        "d7": ("completed", None),
        "d8": ("cancelled", None),
    }


def test_a_check_that_no_row_breaks_is_valid_beside_one_that_is_broken(project: str) -> None:
    with connect(project) as conn:
        query = "select conname, convalidated from pg_constraint where starts_with(conname, 'sync_jobs_')"
        valid = {row["conname"].removeprefix("sync_jobs_"): row["convalidated"] for row in conn.execute(query)}
    broken = {"counts_positive", "date_range", "dates_representable"}
    assert valid == {name: name not in broken for name in valid}
    assert len(valid) == 10


def test_every_job_that_is_left_active_can_be_written(project: str) -> None:
    with connect(project) as conn:
        conn.execute("update public.historical_sync_jobs set attempt = attempt + 1 where status in ('pending')")
        with pytest.raises(psycopg.errors.CheckViolation):
            conn.execute("update public.historical_sync_jobs set attempt = attempt + 1 where status = 'completed'")


def test_what_stopped_half_way_at_a_table_of_calls_goes_on(
    create_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = create_database()
    with connect(url) as conn:
        conn.execute(SUPABASE + "create table public.calls (id serial primary key)")
    for path in sorted(MIGRATIONS.glob("*.sql"))[:3]:
        shutil.copy(path, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(service.migrate, "MIGRATIONS", tmp_path)
        patched.setattr(service.migrate, "FUNCTIONS", tmp_path)
        assert len(migrate(url)) == 3

    assert "20261123090300_create_calls" in migrate(url)
