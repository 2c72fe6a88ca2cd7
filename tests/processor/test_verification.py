"""Count, plan, verify: what a job knows beforehand, and whether it can prove in the end that nothing is missing."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from itertools import count
from typing import Any, TypeVar

import pytest

from service.database import Conn, Database
from service.jobs import leases
from service.jobs.leases import Claim
from service.local.standin import Fault, Faults, HistogramFaults
from service.processor import job_importer
from service.processor.histogram import Histogram
from service.processor.ultravox import UltravoxClient
from service.settings import Settings
from tests.support.importing import FROM, KEY, Import, call_at
from tests.support.processing import LEASE

T = TypeVar("T")
DAY = timedelta(days=1)
MARCH_1 = FROM.date()


def calls_per_day(*counts: int, at_once: int = 1) -> list[dict[str, Any]]:
    """So many calls on the first days of the range, spread over each of them, from its first instant on."""
    return [
        call_at(FROM + DAY * day + DAY / calls * (n - n % at_once), f"day-{day}-call-{n}")
        for day, calls in enumerate(counts)
        for n in range(calls)
    ]


def row_of(job: Import) -> dict[str, Any]:
    [row] = job.sql.execute("select * from public.historical_sync_jobs where id = %s", [job.job_id]).fetchall()
    return row


def outcome(job: Import) -> tuple[Any, ...]:
    row = row_of(job)
    return row["status"], row["verification"], row["missing_calls"]


def coverage(job: Import, first: date = MARCH_1, last: date = MARCH_1 + 3 * DAY) -> list[tuple[int, int | None, str]]:
    query = "select stored, source, state from historical_sync.coverage(%s, %s, %s)"
    return [
        (day["stored"], day["source"], day["state"]) for day in job.sql.execute(query, [job.agency_id, first, last])
    ]


class TestPlan:
    def test_the_total_is_known_before_the_first_page(self, job: Import) -> None:
        job.put(*calls_per_day(4, 0, 9, 1))
        claim, asked = job.claim(), []
        client = UltravoxClient(job.server.url, timeout=60, connections=1)
        page = client.page
        client.page = lambda *a, **k: asked.append(row_of(job)) or page(*a, **k)  # type: ignore[method-assign, func-returns-value]
        job.complete(claim, client=client)
        assert {(row["total_calls"], row["source_compared_at"]) for row in asked} == {(14, None)}
        assert asked[0]["processed_calls"] == 0

    def test_the_counts_are_seen_while_the_calls_are_on_their_way(self, job: Import) -> None:
        job.put(*calls_per_day(2, 0, 1))
        claim = job.claim()
        job.server.faults.queue = [Fault("status", 401)]
        with pytest.raises(Exception, match="API key"):
            job.complete(claim)
        assert coverage(job)[:3] == [(0, 2, "missing"), (0, 0, "complete"), (0, 1, "missing")]

    def test_windows_have_equal_work_and_are_no_more_than_the_plan_needs(self, job: Import) -> None:
        job.put(*calls_per_day(1, 0, 30, 0, 5))
        job.server.faults.max_page_size = 100
        job.complete(replace(job.claim(), page_size=10), threads=8)
        windows = job.sql.execute("select * from historical_sync.windows order by ends_at desc").fetchall()
        assert [window["planned_calls"] for window in windows] == [9, 9, 9, 9]
        assert job.counts() == (36, 36, 0, 0)
        assert job.server.stats.requests <= 6  # a page each, and what the overlaps make of them

    def test_a_small_job_is_one_request_and_two_for_the_counts(self, job: Import) -> None:
        job.put(*calls_per_day(2, 1))
        job.complete(threads=8)
        assert (job.server.stats.requests, job.server.stats.histograms) == (1, 2)
        assert outcome(job) == ("completed", "verified", None)

    @pytest.mark.parametrize("total", ["exact", "missing"])
    def test_a_window_that_goes_on_far_beyond_its_plan_is_cut_for_those_who_wait(self, job: Import, total: Any) -> None:
        """The histogram says that there are three calls, and there are sixty, in one hour."""
        job.put(*(call_at(FROM + timedelta(minutes=n), f"call-{n}") for n in range(60)))
        job.server.faults = Faults(max_page_size=3, total=total, histogram=HistogramFaults(factor=0.05))
        job.complete(threads=4)
        assert job.sql.execute("select from historical_sync.windows").rowcount > 1
        assert (job.counts(), len(job.rows())) == ((60, 60, 0, 0), 60)
        assert outcome(job) == ("completed", "verified", None)

    def test_a_planned_window_that_goes_as_planned_is_not_cut_whoever_waits(self, job: Import) -> None:
        job.put(*calls_per_day(10, 10, 10))
        job.complete(replace(job.claim(), page_size=3), threads=2)
        windows = job.sql.execute("select planned_calls from historical_sync.windows").fetchall()
        assert sorted(window["planned_calls"] for window in windows) == [15, 15]

    def test_a_job_that_has_begun_is_not_planned_again(self, job: Import) -> None:
        job.put(*calls_per_day(10, 10, 10))
        claim = job.claim()
        job.server.faults.queue = [Fault("status", 401, after=2)]
        with pytest.raises(Exception, match="API key"):
            job.complete(claim, threads=1)
        job.complete(claim)
        assert job.server.stats.histograms == 2
        assert job.counts() == (30, 30, 0, 0)


# What the histogram says, how the job ends, and what the coverage of its four days is then.
LIES: dict[str, tuple[HistogramFaults, str, int | None, list[Any]]] = {
    "missing": (HistogramFaults(status=404), "unverified", None, [None] * 4),
    "refused": (HistogramFaults(status=403), "unverified", None, [None] * 4),
    "refused as the key is": (HistogramFaults(status=401), "unverified", None, [None] * 4),
    "failing": (HistogramFaults(status=500), "unverified", None, [None] * 4),
    "throttled for an hour": (HistogramFaults(status=429, retry_after="3600"), "unverified", None, [None] * 4),
    "elsewhere": (HistogramFaults(status=302), "unverified", None, [None] * 4),
    "dropped": (HistogramFaults(queue=[Fault("drop", times=None)]), "unverified", None, [None] * 4),
    "broken off": (HistogramFaults(queue=[Fault("half_body", times=None)]), "unverified", None, [None] * 4),
    "malformed": (HistogramFaults(raw_body="<html>"), "unverified", None, [None] * 4),
    "empty": (HistogramFaults(raw_body='{"hourly": [], "daily": []}'), "unverified", None, [None] * 4),
    "negative": (HistogramFaults(factor=-1), "unverified", None, [None] * 4),
    "beyond counting": (HistogramFaults(factor=1e9), "unverified", None, [None] * 4),
    "too few": (HistogramFaults(factor=0.5), "verified", None, [2, 0, 4, 1]),
    "too many": (HistogramFaults(plus=1), "gaps", 7, [6, 0, 12, 3]),
    "only days": (HistogramFaults(without=["hourly", "allTime"]), "verified", None, [4, 0, 8, 2]),
    "days of another time zone": (HistogramFaults(daily_offset_hours=9), "verified", None, [4, 0, 8, 2]),
    "hours alone": (HistogramFaults(without=["daily"]), "verified", None, [4, 0, 8, 2]),
    "no hours listed": (HistogramFaults(empty_hourly=True), "verified", None, [4, 0, 8, 2]),
    "hours without calls listed": (HistogramFaults(zero_buckets=True), "verified", None, [4, 0, 8, 2]),
}


@pytest.mark.parametrize(("lie", "verification", "missing", "source"), LIES.values(), ids=LIES)
def test_a_histogram_that_lies_loses_no_call_and_fails_no_job(
    job: Import, lie: HistogramFaults, verification: str, missing: int | None, source: list[Any]
) -> None:
    job.put(*calls_per_day(4, 0, 8, 2, at_once=2))
    job.server.faults = Faults(max_page_size=3, histogram=lie)
    job.complete(threads=2)
    assert outcome(job) == ("completed", verification, missing)
    assert (job.counts(), len(job.rows())) == ((14, 14, 0, 0), 14)
    assert row_of(job)["total_calls"] == 14 + (missing or 0)
    assert [day[1] for day in coverage(job)] == source
    assert [day[0] for day in coverage(job)] == [4, 0, 8, 2]


def test_a_histogram_that_comes_too_late_is_done_without(job: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_importer, "PLAN_SECONDS", 0.1)
    monkeypatch.setattr(job_importer, "VERIFY_SECONDS", 0.1)
    job.put(*calls_per_day(4, 0, 8, 2))
    job.server.faults.histogram.latency_seconds = 60
    job.complete()
    assert outcome(job) == ("completed", "unverified", None)
    assert len(job.rows()) == 14


def test_the_two_counts_delay_a_job_by_five_seconds_at_most() -> None:
    assert job_importer.PLAN_SECONDS + job_importer.VERIFY_SECONDS <= 5


class TestGaps:
    def test_calls_that_are_never_listed_are_missing_and_the_job_is_completed_all_the_same(self, job: Import) -> None:
        job.put(*calls_per_day(4, 3, 8, 2))
        job.server.faults.unlisted = ["day-1-call-0", "day-2-call-7", "day-2-call-3"]
        job.complete()
        assert outcome(job) == ("completed", "gaps", 3)
        assert (job.counts(), row_of(job)["total_calls"]) == ((14, 14, 0, 0), 17)
        states = [(4, 4, "complete"), (2, 3, "missing"), (6, 8, "missing"), (2, 2, "complete")]
        assert coverage(job) == states
        assert job.server.stats.histograms == 2

    def test_only_the_days_that_fall_short_are_paged_once_more(self, job: Import) -> None:
        job.put(*calls_per_day(3, 3, 3, 3))
        job.server.faults.unlisted = ["day-2-call-1"]
        job.complete()
        rechecks = job.sql.execute("select * from historical_sync.windows where is_recheck").fetchall()
        assert [(window["starts_at"], window["ends_at"]) for window in rechecks] == [(FROM + 2 * DAY, FROM + 3 * DAY)]
        assert rechecks[0]["finished_at"]

    def test_a_call_that_the_list_left_out_is_found_by_the_second_paging_of_its_day(self, job: Import) -> None:
        job.put(*calls_per_day(4, 3, 8, 2))
        job.server.faults.unlisted = ["day-1-call-0", "day-2-call-7"]
        claim = job.claim()
        job.complete(claim, client=Relenting(job))
        assert outcome(job) == ("completed", "verified", None)
        assert (job.counts(), len(job.rows())) == ((17, 17, 0, 0), 17)
        assert {state for _, _, state in coverage(job)} == {"complete"}

    def test_calls_that_were_deleted_there_are_no_gap_unless_they_are_still_counted(self, job: Import) -> None:
        job.put(*calls_per_day(4, 3))
        job.complete()
        job.server.delete_call(KEY, "day-0-call-1")
        job.server.delete_call(KEY, "day-1-call-1")
        job.complete()
        assert outcome(job) == ("completed", "verified", None)
        assert coverage(job)[:2] == [(4, 3, "complete"), (3, 2, "complete")]

        job.sql.execute("delete from public.calls where ultravox_call_id = 'day-1-call-1'")
        job.server.faults.histogram.counts_deleted = True
        job.complete()
        assert outcome(job) == ("completed", "gaps", 1)
        assert coverage(job)[:2] == [(4, 4, "complete"), (2, 3, "missing")]

    def test_a_call_that_cannot_be_stored_is_missing(self, job: Import) -> None:
        job.put(*calls_per_day(4), call_at(FROM, "bad", billedDuration=f"{'9' * 140_000}s"))
        job.complete()
        assert outcome(job) == ("completed", "gaps", 1)
        assert (job.counts(), row_of(job)["total_calls"]) == ((5, 4, 0, 1), 5)

    def test_a_day_is_counted_within_the_range_alone(self, job: Import) -> None:
        job.put(*calls_per_day(24, 24, 24))
        date_from, date_to = FROM + timedelta(hours=12, minutes=30), FROM + 2 * DAY + timedelta(hours=6)
        job.server.faults.unlisted = ["day-0-call-3", "day-2-call-6", "day-2-call-20"]
        job.complete(job.claim(date_from, date_to))
        assert outcome(job) == ("completed", "verified", None)
        assert job.counts() == (11 + 24 + 6, 11 + 24 + 6, 0, 0)
        assert coverage(job)[:3] == [(11, 11, "complete"), (24, 24, "complete"), (6, 6, "complete")]

        job.server.faults.unlisted = ["day-0-call-13", "day-2-call-5"]
        job.sql.execute("delete from public.calls")
        job.complete(job.claim(date_from, date_to))
        assert outcome(job) == ("completed", "gaps", 2)
        starts = job.sql.execute("select starts_at, ends_at from historical_sync.windows where is_recheck order by 1")
        assert [tuple(row.values()) for row in starts] == [(date_from, FROM + DAY), (FROM + 2 * DAY, date_to)]

    def test_a_count_of_half_a_day_does_not_hide_what_was_counted_of_the_whole(self, job: Import) -> None:
        job.put(*calls_per_day(24))
        job.server.faults.unlisted = ["day-0-call-1"]
        job.complete(job.claim(FROM, FROM + DAY))
        job.complete(job.claim(FROM + DAY / 2, FROM + DAY))
        assert outcome(job) == ("completed", "verified", None)
        assert coverage(job)[0] == (23, 24, "missing")
        assert missing(job) == 1
        job.server.faults.unlisted = []
        job.complete(job.claim(FROM, FROM + DAY))
        assert coverage(job)[0] == (24, 24, "complete")
        assert missing(job) == 0

    @pytest.mark.parametrize("faults", [{"endless": True}, {"cursor_ttl": 0}])
    def test_pages_that_bring_nothing_new_end_a_second_paging_and_not_the_job(
        self, job: Import, faults: dict[str, Any]
    ) -> None:
        job.put(*calls_per_day(40))
        job.server.faults.histogram.plus = 1
        claim = job.claim()
        job.complete(claim, client=Relenting(job, **faults))
        assert outcome(job)[:2] == ("completed", "gaps")
        assert (job.counts(), len(job.rows())) == ((40, 40, 0, 0), 40)


def missing(job: Import) -> int:
    [row] = job.sql.execute(
        "select value from historical_sync.source_metrics() where metric = 'missing_calls'"
    ).fetchall()
    return int(row["value"])


class Relenting(UltravoxClient):
    """The stand-in changes its ways when it is asked for its count the second time."""

    def __init__(self, job: Import, **faults: Any) -> None:
        super().__init__(job.server.url, timeout=60, connections=1)
        self.job, self.faults = job, faults

    def histogram(self, *args: Any, **more: Any) -> Histogram | None:
        histogram = super().histogram(*args, **more)
        if self.job.server.stats.histograms == 2:
            self.job.server.faults.unlisted = []
            for name, value in self.faults.items():
                setattr(self.job.server.faults, name, value)
        return histogram


class Killed(Exception):  # noqa: N818
    """The processor is gone."""


class Dying(Database):
    """Dies at a statement of an import: before it, or once it is committed and nobody hears of it."""

    statements = 0
    dies_at = -1
    committed = False

    def run_through_outages(self, statement: Callable[[Conn], T], *, seconds: float) -> T:
        self.statements += 1
        if self.statements == self.dies_at and not self.committed:
            raise Killed
        result = super().run_through_outages(statement, seconds=seconds)
        if self.statements == self.dies_at:
            raise Killed
        return result


@pytest.fixture
def dying(make_settings: Callable[..., Settings]) -> Iterator[Dying]:
    database = Dying.of_processor(make_settings())
    assert isinstance(database, Dying)
    yield database
    database.close()


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("resumed", [False, True])
def test_a_kill_at_any_point_changes_nothing_of_the_outcome(
    job: Import, dying: Dying, *, committed: bool, resumed: bool
) -> None:
    """Planned, imported, two days short, one of which is found to be complete when it is paged once more."""
    job.put(*calls_per_day(4, 3, 2))
    job.database, dying.committed = dying, committed
    for statement in count(1):
        job.sql.execute("delete from public.calls; delete from historical_sync.source_days")
        job.server.faults.unlisted = ["day-0-call-0", "day-1-call-0"]
        claim = job.claim()
        dying.statements, dying.dies_at = 0, statement
        try:
            job.complete(claim, client=Halfway(job))
            died = False
        except Killed:
            died, dying.dies_at = True, -1
            if row_of(job)["status"] != "completed":
                job.complete(reclaimed(job, resumed=resumed), client=Halfway(job))
        assert outcome(job) == ("completed", "gaps", 1)
        assert (job.counts(), len(job.rows())) == ((8, 8, 0, 0), 8)
        assert coverage(job)[:3] == [(3, 4, "missing"), (3, 3, "complete"), (2, 2, "complete")]
        paged_again = "select from historical_sync.windows where is_recheck and job_id = %s"
        assert job.sql.execute(paged_again, [job.job_id]).rowcount == 2
        if not died:
            break
    assert statement > 8


class Halfway(UltravoxClient):
    """The stand-in lists one of two calls that it has left out, once it was asked for its count twice."""

    def __init__(self, job: Import) -> None:
        super().__init__(job.server.url, timeout=60, connections=1)
        self.job = job

    def histogram(self, *args: Any, **more: Any) -> Histogram | None:
        histogram = super().histogram(*args, **more)
        if row_of(self.job)["processed_calls"] >= 7:
            self.job.server.faults.unlisted = ["day-0-call-0"]
        return histogram


def reclaimed(job: Import, *, resumed: bool) -> Claim:
    if resumed:
        job.sql.execute("select historical_sync.cancel_job(%s, %s)", [job.agency_id, job.job_id])
        job.sql.execute("select historical_sync.resume_job(%s, %s)", [job.agency_id, job.job_id])
    job.sql.execute("update historical_sync_jobs set lease_expires_at = clock_timestamp() where status = 'in_progress'")
    with job.database.connection() as conn:
        claim = leases.claim(conn, LEASE)
    assert claim
    return claim
