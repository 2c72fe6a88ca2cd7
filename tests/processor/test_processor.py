"""`flask process-historical-sync` as it is run: real processes that are stopped, killed and cut off."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from service.local.standin import Fault, Faults, StandinServer
from service.processor import dispatcher
from tests.support.database import Sql, add_agency
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
    in_range,
    job,
    snapshot,
    some_calls,
    status,
)
from tests.support.waiting import wait_until

FEW = some_calls(250)
MANY = some_calls(1500)


@pytest.fixture
def processors(database_url: str, tmp_path: Path) -> Iterator[Processors]:
    with closing(Processors(database_url, tmp_path)) as processors:
        yield processors


@dataclass(frozen=True)
class Hanging:
    """A processor that was told to stop while its request hung."""

    database_url: str
    job_id: UUID
    exit_code: Future[int]


@pytest.fixture(scope="module", autouse=True)
def hanging(
    create_database: Callable[..., str], template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hanging]:
    """It takes its seconds while other tests run."""
    url = create_database(template)
    with (
        closing(Processors(url, tmp_path_factory.mktemp("hanging"))) as processors,
        StandinServer({KEY: FEW}, faults=Faults(latency_seconds=600)) as api,
        ThreadPoolExecutor(1) as thread,
        psycopg.connect(url, autocommit=True, row_factory=dict_row) as sql,
    ):
        job_id = add_job(sql, add_agency(sql))
        watch = processors.start(api, "--watch")
        wait_until(lambda: api.stats.in_flight)
        yield Hanging(url, job_id, thread.submit(watch.stop))


class TestPass:
    def test_it_imports_everything_and_its_last_line_says_so(self, processors: Processors, sql: Sql) -> None:
        date_from, date_to = UNTIL - timedelta(days=90), UNTIL - timedelta(days=5)
        job_id = add_job(sql, add_agency(sql), date_from, date_to)
        expected = in_range(MANY, date_from, date_to)
        with StandinServer({KEY: MANY}) as api:
            done = processors.run(api)

        assert_imported(sql, job_id, expected)
        result = {"job_id": str(job_id), "status": "completed", "imported": len(expected), "skipped": 0, "failed": 0}
        assert done.outcome == {"results": [{**result, "reason": "all_calls_fetched"}]}
        assert len(done.stdout.splitlines()) == 1
        assert KEY not in done.stderr

    def test_without_a_due_job_it_says_so(self, processors: Processors) -> None:
        assert processors.run(None).outcome == {"processed": 0, "message": "No pending jobs"}

    def test_it_stops_after_max_seconds_and_the_next_pass_goes_on(self, processors: Processors, sql: Sql) -> None:
        job_id = add_job(sql, add_agency(sql))
        with StandinServer({KEY: MANY}, faults=Faults(latency_seconds=0.2, max_page_size=20)) as api:
            stopped = processors.run(api, "--max-seconds", "1")
            given_back = job(sql, job_id)
            api.faults.latency_seconds, api.faults.max_page_size = 0, 100
            processors.run(api)

        assert stopped.result["status"] == given_back["status"] == "pending"
        assert given_back["lease_expires_at"] is None
        assert 0 < given_back["processed_calls"] < len(MANY)
        assert_imported(sql, job_id, MANY)

    def test_a_history_of_one_day_in_three_years_is_shared_between_windows(
        self, processors: Processors, sql: Sql
    ) -> None:
        calls = calls_of_one_day(1500, datetime(2024, 7, 9, tzinfo=UTC))
        job_id = add_job(sql, add_agency(sql))
        with StandinServer({KEY: calls}, faults=Faults(latency_seconds=0.01)) as api:
            processors.run(api)

        assert_imported(sql, job_id, calls)
        [windows] = sql.execute("select count(*) from historical_sync.windows where job_id = %s", [job_id])
        assert windows["count"] > 1

    def test_an_overlapping_import_updates_what_changed_and_duplicates_nothing(
        self, processors: Processors, sql: Sql
    ) -> None:
        agency_id, cut = add_agency(sql), UNTIL - timedelta(days=40)
        older = in_range(MANY, None, UNTIL - timedelta(days=20))
        newer = in_range(MANY, cut, UNTIL)
        overlap = in_range(older, cut, UNTIL)
        changed = [{**call, "summary": "Told anew."} for call in overlap[::10]]
        expected = {call["callId"]: call for call in (*MANY, *changed)}
        with StandinServer({KEY: MANY}) as api:
            add_job(sql, agency_id, None, UNTIL - timedelta(days=20))
            processors.run(api)
            for call in changed:
                api.put_call(KEY, call)
            second = add_job(sql, agency_id, cut, UNTIL)
            processors.run(api)

        counts = job(sql, second)
        assert counts["imported_calls"] == len(newer) - len(overlap) + len(changed)
        assert counts["skipped_calls"] == len(overlap) - len(changed)
        rows = sql.execute("select ultravox_call_id, data from public.calls").fetchall()
        assert {row["ultravox_call_id"]: row["data"] for row in rows} == expected
        assert len(rows) == len(expected)


class TestKeys:
    def test_without_any_key_the_job_fails_and_the_pass_does_not(self, processors: Processors, sql: Sql) -> None:
        job_id = add_job(sql, add_agency(sql))
        result = processors.run(None, ULTRAVOX_API_KEY="").result
        told = "Agency API key not configured. Ask support to set it, then resume."
        assert (result["status"], result["error"]) == ("failed", told)
        assert job(sql, job_id)["error_message"] == told

    @pytest.mark.parametrize("refusal", [401, 403])
    def test_a_rejected_key_fails_the_job_at_once(self, processors: Processors, sql: Sql, refusal: int) -> None:
        job_id = add_job(sql, add_agency(sql))
        faults = Faults(auth_status=401 if refusal == 401 else 403)
        with StandinServer({"another": FEW}, faults=faults) as api:
            result = processors.run(api).result
        assert result["status"] == status(sql, job_id) == "failed"
        assert str(refusal) in result["error"]
        assert "key" in result["error"]
        assert api.stats.requests == 1

    def test_an_agencys_own_key_comes_before_the_common_one(self, processors: Processors, sql: Sql) -> None:
        agency_id = add_agency(sql)
        stored = processors.set_key(agency_id, "its-own-key\n", CREDENTIALS_KEY=CREDENTIALS_KEY)
        job_id = add_job(sql, agency_id)
        with StandinServer({KEY: MANY, "its-own-key": FEW}) as api:
            processors.run(api, CREDENTIALS_KEY=CREDENTIALS_KEY)

        assert stored.wait() == 0
        assert_imported(sql, job_id, FEW)
        [agency] = sql.execute("select ultravox_api_key_encrypted as ciphertext from public.agencies")
        assert b"its-own-key" not in bytes(agency["ciphertext"])
        assert "its-own-key" not in stored.stdout + stored.stderr

    @pytest.mark.parametrize(
        ("known", "api_key", "credentials_key", "complaint"),
        [
            (False, "key", CREDENTIALS_KEY, "there is no agency"),
            (True, " \n", CREDENTIALS_KEY, "holds no API key"),
            (True, "key", "", "CREDENTIALS_KEY is not set"),
        ],
        ids=["unknown agency", "empty key", "no CREDENTIALS_KEY"],
    )
    def test_a_key_that_cannot_be_stored_is_refused_in_one_line(
        self, processors: Processors, sql: Sql, known: bool, api_key: str, credentials_key: str, complaint: str
    ) -> None:
        agency_id = add_agency(sql) if known else uuid4()
        refused = processors.set_key(agency_id, api_key, CREDENTIALS_KEY=credentials_key)
        assert refused.wait() == 1
        [line] = refused.stderr.splitlines()
        assert complaint in line
        assert sql.execute("select from public.agencies where ultravox_api_key_encrypted is not null").rowcount == 0


class TestWatch:
    def test_it_takes_a_new_job_and_gives_it_back_when_it_is_told_to_stop(
        self, processors: Processors, sql: Sql
    ) -> None:
        with StandinServer({KEY: MANY}) as api:
            watch = processors.start(api, "--watch")
            first = add_job(sql, add_agency(sql))
            wait_until(lambda: status(sql, first) == "completed")
            api.faults = Faults(latency_seconds=0.2, max_page_size=20)
            second = add_job(sql, add_agency(sql))
            wait_until(lambda: job(sql, second)["processed_calls"])

            assert watch.stop() == 0
        assert_imported(sql, first, MANY)
        given_back = job(sql, second)
        assert (given_back["status"], given_back["lease_expires_at"]) == ("pending", None)
        assert [result["status"] for result in watch.outcome["results"]] == ["completed", "pending"]


class TestFaultsOfTheApi:
    @pytest.mark.parametrize(
        "fault",
        [
            Fault(status=429, retry_after="1", after=10, times=4),
            Fault(status=500, probability=0.2, times=None),
            Fault(kind="half_body", after=1, times=1),
        ],
        ids=["429", "500", "half_body"],
    )
    def test_what_passes_is_retried_in_the_same_pass(self, processors: Processors, sql: Sql, fault: Fault) -> None:
        job_id = add_job(sql, add_agency(sql))
        with StandinServer({KEY: MANY}, faults=Faults(queue=[fault])) as api:
            processors.run(api)
        assert_imported(sql, job_id, MANY)
        assert job(sql, job_id)["attempt"] == 1

    def test_a_long_retry_after_puts_the_job_off_and_another_agencys_is_done_meanwhile(
        self, processors: Processors, sql: Sql
    ) -> None:
        put_off = add_job(sql, add_agency(sql))
        with StandinServer({KEY: FEW, "other": MANY}) as api:
            api.faults = Faults(queue=[Fault(status=429, retry_after="3600")])
            processing = processors.start(api, "--watch", CREDENTIALS_KEY=CREDENTIALS_KEY)
            wait_until(lambda: job(sql, put_off)["next_attempt_at"])
            done = add_job(sql, agency_with_key(sql, "other"))
            wait_until(lambda: status(sql, done) == "completed")
            assert processing.stop() == 0

        assert_imported(sql, done, MANY)
        row = job(sql, put_off)
        assert row["status"] == "pending"
        assert row["next_attempt_at"] > datetime.now(UTC) + timedelta(minutes=55)
        assert "429" in row["error_message"]

    def test_a_long_retry_after_is_not_sat_out_by_another_job_with_the_same_key(
        self, processors: Processors, sql: Sql
    ) -> None:
        jobs = [add_job(sql, add_agency(sql)) for _ in range(2)]
        with StandinServer({KEY: FEW}) as api:
            api.faults = Faults(queue=[Fault(status=429, retry_after="3600")])
            processors.run(api, PROCESSOR_JOBS="1")

        assert all(status(sql, job_id) in ("pending", "completed") for job_id in jobs)
        assert "pending" in [status(sql, job_id) for job_id in jobs]

    def test_pages_that_never_end_fail_the_job(self, processors: Processors, sql: Sql) -> None:
        job_id = add_job(sql, add_agency(sql))
        with StandinServer({KEY: FEW}, faults=Faults(endless=True)) as api:
            result = processors.run(api).result
        assert result["status"] == status(sql, job_id) == "failed"
        assert "keeps giving next pages" in result["error"]


class TestStop:
    def test_a_cancelled_job_gets_no_call_more(self, processors: Processors, sql: Sql) -> None:
        agency_id = add_agency(sql)
        job_id = add_job(sql, agency_id)
        with StandinServer({KEY: MANY}, faults=Faults(latency_seconds=0.02, max_page_size=20)) as api:
            importing = processors.start(api)
            wait_until(lambda: count_calls(sql))
            sql.execute("select * from historical_sync.cancel_job(%s, %s)", [agency_id, job_id])
            cancelled = snapshot(sql)
            importing.wait()

        assert importing.result["status"] == "cancelled"
        assert snapshot(sql) == cancelled
        assert count_calls(sql) < len(MANY)

    def test_it_stops_within_ten_seconds_also_while_a_request_hangs(self, hanging: Hanging) -> None:
        # What it gives itself; the test waits for the end of it, however busy the machine is.
        assert dispatcher.SHUTDOWN_SECONDS + dispatcher.RELEASE_SECONDS < 10
        assert hanging.exit_code.result() == 0
        with psycopg.connect(hanging.database_url, row_factory=dict_row) as sql:
            row = job(sql, hanging.job_id)
        assert (row["status"], row["lease_expires_at"]) == ("pending", None)
