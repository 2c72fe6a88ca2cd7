"""A job that is completed has every call, whatever the API is like and wherever its windows are cut."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from service.database import Database
from service.jobs import leases
from service.jobs.leases import Claim
from service.processor.errors import JobFailedError
from service.processor.histogram import HOUR, Histogram
from service.processor.page_fetcher import PageFetcher
from service.processor.rate_limiter import RateLimiter
from service.processor.window_importer import WindowImporter
from service.settings import Settings
from tests.support.accounts import MICROSECOND, Account
from tests.support.database import Sql
from tests.support.importing import import_claimed
from tests.support.processing import LEASE

FROM, TO = datetime(2026, 3, 1, 7, 30, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)
DAY = timedelta(days=1)
RESOLUTIONS = [MICROSECOND, *(timedelta(milliseconds=1) * n for n in (1, 1000, 60_000, 3_600_000)), DAY]


class Importer:
    """Imports an account by the way of a processor, one window after the other."""

    def __init__(self, sql: Sql, database: Database, agency_id: UUID) -> None:
        self.sql, self.database, self.agency_id = sql, database, agency_id

    def claim(self, date_from: datetime | None, date_to: datetime) -> Claim:
        """Empty the agency, and claim a job of the range."""
        self.sql.execute("delete from public.historical_sync_jobs")
        self.sql.execute("delete from public.calls")
        query = "select historical_sync.create_job(%s, null, %s, %s)"
        self.sql.execute(query, [self.agency_id, date_from, date_to])
        with self.database.connection() as conn:
            claim = leases.claim(conn, LEASE)
        assert claim
        return claim

    def run(
        self, account: Account, date_from: datetime | None, date_to: datetime, wants_cut: Callable[[], bool]
    ) -> dict[str, Any]:
        """Empty the agency, import the range into it, complete the job and return its row."""
        claim = self.claim(date_from, date_to)
        with self.database.connection() as conn:
            windows = deque(leases.unfinished_windows(conn, claim))
        client: Any = account  # as far as it is used
        window_importer = WindowImporter(
            self.database,
            PageFetcher(claim.job_id, client, SecretStr("key"), RateLimiter(1e6), stopped=lambda: False),
            claim,
            LEASE,
            stopped=lambda: False,
            wants_cut=lambda *_: wants_cut(),
            on_stored=lambda *_: None,
        )
        while windows:
            windows.extend(window_importer.run(windows.popleft()))
        with self.database.connection() as conn:
            leases.complete(conn, claim)
        return self.job()

    def run_whole(self, account: Account, date_from: datetime | None, date_to: datetime) -> dict[str, Any]:
        """Import the range as a processor does, with the account's own count; return the job's row."""
        claim = replace(self.claim(date_from, date_to), page_size=account.page_size)
        import_claimed(self.database, claim, account, threads=3)
        return self.job()

    def job(self) -> dict[str, Any]:
        [job] = self.sql.execute("select * from public.historical_sync_jobs").fetchall()
        return job

    def stored(self) -> set[str]:
        return {row["ultravox_call_id"] for row in self.sql.execute("select ultravox_call_id from public.calls")}


@pytest.fixture
def importer(sql: Sql, agency_id: UUID, make_settings: Callable[..., Settings]) -> Iterator[Importer]:
    database = Database.of_processor(make_settings())
    yield Importer(sql, database, agency_id)
    database.close()


def assert_complete(importer: Importer, account: Account, job: dict[str, Any]) -> None:
    expected = account.expected(job["date_from"], job["date_to"])
    assert importer.stored() == expected
    assert job["status"] == "completed"
    assert (job["processed_calls"], job["imported_calls"]) == (len(expected), len(expected))
    assert (job["skipped_calls"], job["failed_calls"]) == (0, 0)


moments = st.one_of(
    st.datetimes((FROM - DAY).replace(tzinfo=None), (TO + DAY).replace(tzinfo=None), timezones=st.just(UTC)),
    # Many at once, on bounds and on seams.
    st.sampled_from([FROM, FROM + (TO - FROM) / 2, FROM + (TO - FROM) / 4, TO - MICROSECOND, TO]).flatmap(
        lambda bound: st.sampled_from([bound - MICROSECOND, bound, bound + MICROSECOND])
    ),
)


def as_fine_as_bounds_that_it_takes_for_exclusive(account: Account) -> bool:
    """No seam helps against an API that takes a bound for exclusive and means a whole hour or day by it."""
    unit = max(account.rounds_bounds, account.resolution if account.filters_by_shown else MICROSECOND)
    return not account.exclusive or unit <= timedelta(minutes=1)


accounts = st.builds(
    Account,
    created=st.lists(moments, max_size=30),
    order=st.sampled_from(["newest first", "oldest first", "none"]),
    late=st.dictionaries(st.integers(0, 29), st.integers(1, 6), max_size=3),
    resolution=st.sampled_from(RESOLUTIONS),
    filters_by_shown=st.booleans(),
    rounds_bounds=st.sampled_from(RESOLUTIONS),
    exclusive=st.booleans(),
    ignores=st.frozensets(st.sampled_from(["fromDate", "toDate"])),
    page_size=st.integers(2, 9),
    overlap=st.integers(0, 1),
    empty_pages=st.integers(0, 3),
    forgets=st.frozensets(st.integers(1, 12), max_size=4),
).filter(as_fine_as_bounds_that_it_takes_for_exclusive)


@given(accounts, st.none() | st.just(FROM), st.lists(st.booleans(), max_size=20))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_completed_implies_every_call_whatever_the_api_is_like(
    importer: Importer, account: Account, date_from: datetime | None, cuts: list[bool]
) -> None:
    decisions = iter(cuts)
    job = importer.run(account, date_from, TO, lambda: next(decisions, False))
    assert_complete(importer, account, job)


histograms = st.builds(
    lambda buckets, width: Histogram({FROM - DAY + width * n: calls for n, calls in sorted(buckets.items())}, width),
    st.dictionaries(st.integers(0, 120), st.integers(0, 40) | st.just(10**8), max_size=9),
    st.sampled_from([HOUR, DAY]),
)


@given(accounts, histograms | st.none(), st.none() | st.just(FROM))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_completed_implies_every_call_whatever_the_api_counts(
    importer: Importer, account: Account, counted: Histogram | None, date_from: datetime | None
) -> None:
    account.counted = counted
    job = importer.run_whole(account, date_from, TO)
    assert_complete(importer, account, job)
    assert job["verification"] in (("unverified",) if counted is None else ("verified", "gaps", "unverified"))


def test_a_call_listed_late_at_the_edge_of_a_window_is_not_lost(importer: Importer) -> None:
    middle = FROM + (TO - FROM) / 2
    created = [middle + timedelta(seconds=n) for n in range(-50, 50)]
    # It comes after those that are older by six seconds and more.
    account = Account(created, late={50: 6}, page_size=10)
    cuts = iter([True])
    assert_complete(importer, account, importer.run(account, FROM, TO, lambda: next(cuts, False)))


@pytest.mark.parametrize("bound", ["fromDate", "toDate"])
def test_an_api_that_ignores_a_bound_loses_no_call(importer: Importer, bound: str) -> None:
    account = Account([FROM + timedelta(minutes=n) for n in range(250)], ignores=frozenset([bound]), page_size=20)
    cuts = iter([True, True, True])
    assert_complete(importer, account, importer.run(account, FROM, TO, lambda: next(cuts, False)))


@pytest.mark.parametrize("exclusive", [False, True])
def test_calls_on_a_seam_are_counted_once_also_where_bounds_are_exclusive(importer: Importer, exclusive: bool) -> None:
    seam = datetime(2026, 3, 2, tzinfo=UTC)  # the midnight next to the middle
    account = Account([seam + MICROSECOND * n for n in range(-3, 4)] + [seam] * 9, exclusive=exclusive)
    cuts = iter([True])
    assert_complete(importer, account, importer.run(account, FROM, TO, lambda: next(cuts, False)))
    [older] = importer.sql.execute("select ends_at from historical_sync.windows where starts_at = %s", [FROM])
    assert older["ends_at"] == seam


@pytest.mark.parametrize("order", ["newest first", "oldest first", "none"])
def test_a_cursor_forgotten_once_counts_no_call_twice(importer: Importer, order: Any) -> None:
    account = Account(
        [FROM + timedelta(seconds=n * 100) for n in range(1000)], order=order, page_size=100, forgets=frozenset([7])
    )
    assert_complete(importer, account, importer.run(account, FROM, TO, lambda: False))


MANY_AT_ONCE = {
    "at one instant": ([FROM] * 6000, MICROSECOND),
    "in a day of an API that shows days": ([FROM + timedelta(seconds=n) for n in range(6000)], DAY),
}


@pytest.mark.parametrize(("created", "resolution"), MANY_AT_ONCE.values(), ids=MANY_AT_ONCE)
def test_any_number_of_calls_can_share_an_instant(
    importer: Importer, created: list[datetime], resolution: timedelta
) -> None:
    account = Account(created, resolution=resolution, page_size=100)
    assert_complete(importer, account, importer.run(account, None, TO, lambda: False))
    assert account.requests == 60


def test_thirty_empty_pages_before_the_calls_are_gone_through(importer: Importer) -> None:
    account = Account([FROM + timedelta(hours=n) for n in range(9)], empty_pages=30)
    assert_complete(importer, account, importer.run(account, FROM, TO, lambda: False))


@pytest.mark.parametrize("unit", [timedelta(seconds=1), timedelta(minutes=1)])
def test_bounds_that_are_coarse_and_exclusive_lose_no_call_at_the_seams(importer: Importer, unit: timedelta) -> None:
    """Windows of a day and a third each; a minute is still a small part of them."""
    created = [FROM + timedelta(seconds=n * 97) for n in range(2300)]
    account = Account(
        created, resolution=unit, filters_by_shown=True, rounds_bounds=unit, exclusive=True, page_size=100
    )
    cuts = iter([True, True, True])
    assert_complete(importer, account, importer.run(account, FROM, TO, lambda: next(cuts, False)))


@pytest.mark.parametrize("bounds", [frozenset(), frozenset(["fromDate", "toDate"])])
def test_an_api_whose_cursors_are_of_no_use_is_given_up(importer: Importer, bounds: frozenset[str]) -> None:
    account = Account([FROM] * 50, ignores=bounds, page_size=10, forgets_all=True)
    with pytest.raises(JobFailedError, match="forgets its place"):
        importer.run(account, None, TO, lambda: False)
    assert account.requests < 500
