"""Ultravox' own count, taken apart: what it says of a range, and when it is not to be relied on."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.jobs.leases import SourceCounts
from service.processor.histogram import DAY, HOUR, NotAHistogramError, parse_histogram

FROM, TO = datetime(2026, 7, 1, 12, 30, tzinfo=UTC), datetime(2026, 7, 4, 18, 15, tzinfo=UTC)
JULY_1, JULY_2 = date(2026, 7, 1), date(2026, 7, 2)


def hour(day: date, hour: int, calls: Any, **more: Any) -> dict[str, Any]:
    return {"date": str(day), "hour": hour, "totalCount": calls, **more}


def day(day: date, calls: Any) -> dict[str, Any]:
    return {"date": str(day), "totalCount": calls}


def days(**usage: Any) -> dict[date, int]:
    return parse_histogram(json.dumps(usage).encode(), FROM, TO).by_day().days


def test_days_are_summed_from_hours_and_not_taken_from_days_of_an_untold_time_zone() -> None:
    hourly = [hour(JULY_1, 23, 2), hour(JULY_2, 0, 3), hour(JULY_2, 9, 4, errorCount=1)]
    assert days(hourly=hourly, daily=[day(JULY_1, 9)]) == {JULY_1: 2, JULY_2: 7}


@pytest.mark.parametrize("hourly", [{}, {"hourly": None}, {"hourly": []}])
def test_days_are_taken_where_there_are_no_hours(hourly: dict[str, Any]) -> None:
    histogram = parse_histogram(json.dumps({**hourly, "daily": [day(JULY_2, 5)]}).encode(), FROM, TO)
    assert (histogram.by_day(), histogram.width) == (SourceCounts({JULY_2: 5}, in_utc=False), DAY)


def test_an_account_without_calls_has_an_empty_one() -> None:
    assert days(allTime={}, hourly=[], daily=[]) == {}


def test_the_hours_that_the_bounds_cut_belong_to_the_range() -> None:
    edges = [hour(JULY_1, 12, 2), hour(date(2026, 7, 4), 18, 3)]
    assert days(hourly=edges) == {JULY_1: 2, date(2026, 7, 4): 3}


def test_where_the_api_does_not_keep_to_the_bounds_what_they_cut_is_not_known() -> None:
    outside, cut, within = hour(JULY_1, 3, 5), hour(JULY_1, 12, 7), hour(JULY_1, 13, 2)
    assert days(hourly=[outside, within]) == {JULY_1: 2}
    with pytest.raises(NotAHistogramError, match="bounds"):
        days(hourly=[outside, cut, within])
    # Buckets without calls say nothing.
    outside["totalCount"] = 0
    assert days(hourly=[outside, cut, within]) == {JULY_1: 9}


def test_without_a_lower_bound_everything_before_the_end_counts() -> None:
    usage = {"hourly": [hour(date(1, 1, 1), 0, 1), hour(date(2026, 7, 4), 18, 2), hour(date(9999, 12, 31), 23, 0)]}
    assert parse_histogram(json.dumps(usage).encode(), None, TO).total == 3


WRONG = {
    "nothing": b"",
    "no JSON": b"<html>",
    "no text": b"\xff\xfe{}",
    "a list": b"[]",
    "neither hours nor days": b'{"allTime": {"totalCount": 5}}',
    "nested beyond measure": b"[" * 100_000,
    "no hour": {"hourly": [day(JULY_1, 1)]},
    "hour 24": {"hourly": [hour(JULY_1, 24, 1)]},
    "hour -1": {"hourly": [hour(JULY_1, -1, 1)]},
    "a negative count": {"hourly": [hour(JULY_1, 13, -1)]},
    "a count in words": {"hourly": [hour(JULY_1, 13, "5")]},
    "no count": {"hourly": [{"date": "2026-07-01", "hour": 13}]},
    "a broken count": {"hourly": [hour(JULY_1, 13, 1.5)]},
    "a day that does not exist": {"daily": [{"date": "2026-02-30", "totalCount": 1}]},
    "an hour twice": {"hourly": [hour(JULY_1, 13, 1), hour(JULY_1, 13, 2)]},
    "a day twice": {"daily": [day(JULY_1, 1), day(JULY_1, 1)]},
    "more than can be counted": {"hourly": [hour(JULY_1, 13, 2**31)]},
    "more than can be counted together": {"hourly": [hour(JULY_1, 13, 2**30), hour(JULY_1, 14, 2**30)]},
    "one wrong hour among good ones": {"hourly": [hour(JULY_1, 13, 1), {"date": None}]},
    "hours as an object": {"hourly": {"2026-07-01": 4}},
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG)
def test_what_is_wrong_anywhere_is_no_histogram(answer: Any) -> None:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    with pytest.raises(NotAHistogramError):
        parse_histogram(body, FROM, TO)


def test_calls_on_more_days_than_there_can_have_been_are_no_histogram() -> None:
    daily = [day(date(2000, 1, 1) + DAY * n, 1) for n in range(5001)]
    with pytest.raises(NotAHistogramError):
        parse_histogram(json.dumps({"daily": daily}).encode(), None, TO)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates().map(str),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["date", "hour", "totalCount", "hourly", "daily", "x"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_answer_whatsoever_is_more_than_a_histogram_or_none(body: bytes) -> None:
    try:
        histogram = parse_histogram(body, FROM, TO)
    except NotAHistogramError:
        return
    assert histogram.width in (HOUR, DAY)
    assert all(FROM - histogram.width < at < TO and calls >= 0 for at, calls in histogram.buckets.items())
