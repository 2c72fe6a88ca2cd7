"""What the calls of an account come to: in each hour, on each day and in all."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from service.local.demo_calls import Call
from service.local.standin.faults import HistogramFaults

_HOUR = timedelta(hours=1)
_ERRORS = ("connection_error", "system_error")
_Bucket = TypeVar("_Bucket", date, datetime)


class Counts(NamedTuple):
    """What is counted of one call or of several."""

    calls: int = 0
    errors: int = 0
    seconds: float = 0.0
    joined: int = 0
    billed_seconds: float = 0.0


def counts_of(call: Call) -> Counts:
    """What one call adds: a test's call may lack any of it, or hold what the API would never send."""
    billed = re.fullmatch(r"(\d{1,9}(\.\d{1,9})?)s", str(call.get("billedDuration")))
    seconds = 0.0
    with suppress(TypeError, ValueError, KeyError):
        seconds = (datetime.fromisoformat(call["ended"]) - datetime.fromisoformat(call["joined"])).total_seconds()
    return Counts(
        calls=1,
        errors=int(call.get("endReason") in _ERRORS),
        seconds=seconds,
        joined=int(bool(call.get("joined"))),
        billed_seconds=float(billed[1]) if billed else 0.0,
    )


def histogram(calls: Iterable[tuple[str, Counts]], faults: HistogramFaults) -> dict[str, Any]:
    """The API's answer about calls of which the instant and the counts are known."""
    by_hour = defaultdict(list)
    for created, counts in calls:
        by_hour[created[: len("2026-01-31T12")]].append(counts)
    hours = {datetime.fromisoformat(hour): _sum(counts) for hour, counts in by_hour.items()}
    if faults.zero_buckets and hours:
        first, last = min(hours), max(hours)
        every_hour = (first + number * _HOUR for number in range((last - first) // _HOUR + 1))
        hours = {hour: hours.get(hour, Counts()) for hour in every_hour}
    daily = _buckets(hours, lambda hour: (hour + faults.daily_offset_hours * _HOUR).date())
    hourly = _buckets(hours, lambda hour: hour + faults.hourly_offset_hours * _HOUR)
    answer = {
        "allTime": _statistics(_sum(hours.values()), faults),
        "daily": [{"date": day.isoformat(), **_statistics(counts, faults)} for day, counts in daily],
        "hourly": [
            {"date": hour.date().isoformat(), "hour": hour.hour, **_statistics(counts, faults)}
            for hour, counts in hourly
            if not faults.empty_hourly
        ],
    }
    return {name: value for name, value in answer.items() if name not in faults.without}


def _buckets(hours: dict[datetime, Counts], bucket_of: Callable[[datetime], _Bucket]) -> list[tuple[_Bucket, Counts]]:
    buckets = defaultdict(list)
    for hour, counts in hours.items():
        buckets[bucket_of(hour)].append(counts)
    return sorted((bucket, _sum(counts)) for bucket, counts in buckets.items())


def _sum(counts: Iterable[Counts]) -> Counts:
    return Counts(*map(sum, zip(*counts, strict=True)))


def _statistics(counts: Counts, faults: HistogramFaults) -> dict[str, Any]:
    return {
        "totalCount": round(counts.calls * faults.factor) + faults.plus,
        "errorCount": counts.errors,
        "duration": f"{round(counts.seconds)}s",
        "joinedCount": counts.joined,
        "billedMinutes": round(counts.billed_seconds / 60, 4),
    }
