"""What the calls of an account come to: in each hour, on each day and in all."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date, datetime
from typing import Any, NamedTuple, TypeVar

from service.local.demo_calls import Call

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


def histogram(calls: Iterable[tuple[str, Counts]]) -> dict[str, Any]:
    """The API's answer about calls of which the instant and the counts are known."""
    by_hour = defaultdict(list)
    for created, counts in calls:
        by_hour[created[: len("2026-01-31T12")]].append(counts)
    hours = {datetime.fromisoformat(hour): _sum(counts) for hour, counts in by_hour.items()}
    days = _buckets(hours, datetime.date)
    return {
        "allTime": _statistics(_sum(hours.values())),
        "daily": [{"date": day.isoformat(), **_statistics(days[day])} for day in sorted(days)],
        "hourly": [
            {"date": hour.date().isoformat(), "hour": hour.hour, **_statistics(hours[hour])} for hour in sorted(hours)
        ],
    }


def _buckets(hours: dict[datetime, Counts], bucket_of: Callable[[datetime], _Bucket]) -> dict[_Bucket, Counts]:
    buckets = defaultdict(list)
    for hour, counts in hours.items():
        buckets[bucket_of(hour)].append(counts)
    return {bucket: _sum(counts) for bucket, counts in buckets.items()}


def _sum(counts: Iterable[Counts]) -> Counts:
    return Counts(*map(sum, zip(*counts, strict=True)))


def _statistics(counts: Counts) -> dict[str, Any]:
    return {
        "totalCount": counts.calls,
        "errorCount": counts.errors,
        "duration": f"{round(counts.seconds)}s",
        "joinedCount": counts.joined,
        "billedMinutes": round(counts.billed_seconds / 60, 4),
    }
