"""Where a job's range is cut before its first page."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.processor.histogram import DAY, HOUR, Histogram
from service.processor.plan import WINDOWS_PER_THREAD, count_windows, plan_windows

FROM, TO = datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC)


def hours(*calls: int) -> Histogram:
    return Histogram({FROM + HOUR * n: count for n, count in enumerate(calls)}, HOUR)


@pytest.mark.parametrize(
    ("calls", "windows"),
    [
        (0, 1),
        (1, 1),
        (100, 1),
        (101, 2),
        (250, 3),
        (700, 8),
        (720, 8),
        (4000, 8),
        (12_000, 8),
        (14_310, 8),
        (14_400, 16),
        (10**6, 16),
    ],
)
def test_every_thread_has_one_window_of_whole_pages_and_two_where_they_are_long(calls: int, windows: int) -> None:
    assert count_windows(calls, page_size=100, threads=8) == windows


def test_windows_have_about_as_many_calls_however_uneven_the_days_are() -> None:
    histogram = hours(0, 4000, 0, 0, 10, 0, 3990, *[0] * 100, 8000)
    plan = plan_windows(histogram, FROM, TO, page_size=100, threads=4)
    assert sum(plan.calls) == 16_000
    assert plan.calls == [2000] * 8
    assert plan.seams[0] == FROM + HOUR * 1.5
    assert plan.seams[3] == FROM + HOUR * 107  # between the two crowds, where the second begins
    assert plan.seams == sorted(set(plan.seams))


def test_calls_that_cannot_be_told_apart_by_minutes_share_a_window() -> None:
    histogram = Histogram({FROM: 10**6}, timedelta(minutes=3))
    plan = plan_windows(histogram, FROM, TO, page_size=100, threads=8)
    assert plan.seams == [FROM + timedelta(minutes=n) for n in (1, 2)]
    assert sum(plan.calls) == 10**6


@given(
    st.dictionaries(st.integers(-1, 800), st.integers(0, 2**31 - 1), max_size=30),
    st.sampled_from([HOUR, DAY]),
    st.none() | st.datetimes(FROM.replace(tzinfo=None), TO.replace(tzinfo=None), timezones=st.just(UTC)),
    st.integers(1, 1000),
    st.integers(1, 32),
)
def test_any_plan_is_of_windows_in_order_within_the_range(
    buckets: dict[int, int], width: timedelta, date_from: datetime | None, page_size: int, threads: int
) -> None:
    histogram = Histogram({FROM + width * n: calls for n, calls in sorted(buckets.items())}, width)
    date_to = TO + timedelta(days=1)
    plan = plan_windows(histogram, date_from, date_to, page_size=page_size, threads=threads)
    bounds = [*([date_from] if date_from else []), *plan.seams, date_to]
    assert bounds == sorted(set(bounds))
    assert all(seam.second == seam.microsecond == 0 for seam in plan.seams)
    assert len(plan.calls) == len(plan.seams) + 1 <= threads * WINDOWS_PER_THREAD
    assert sum(plan.calls) == histogram.total
    assert min(plan.calls) >= 0
