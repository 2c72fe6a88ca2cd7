"""Ultravox' own count of an account's calls, taken apart: how many there are in each hour or day of a range.

It serves to plan and to verify an import, and an import works without it: what cannot be relied on is no histogram.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

import msgspec

from service.jobs.leases import SourceCounts

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MOST_CALLS = 2**31 - 1  # a job's total is an integer of Postgres
MOST_DAYS = 5000  # longer than there have been calls of any kind like these


class NotAHistogramError(ValueError):
    """The answer is no histogram that can be relied on."""


class _Bucket(msgspec.Struct):
    date: date
    count: Annotated[int, msgspec.Meta(ge=0, le=MOST_CALLS)] = msgspec.field(name="totalCount")
    hour: Annotated[int, msgspec.Meta(ge=0, le=23)] = 0

    def starts_at(self) -> datetime:
        return datetime.combine(self.date, time(self.hour), UTC)


class _HourlyBucket(_Bucket):
    hour: Annotated[int, msgspec.Meta(ge=0, le=23)]


class _Usage(msgspec.Struct):
    # An older account's answer may lack it. Days are counted in a time zone that nobody tells, hours in UTC.
    hourly: list[_HourlyBucket] | None = None
    daily: list[_Bucket] | None = None


_DECODER = msgspec.json.Decoder(_Usage)


@dataclass(frozen=True)
class Histogram:
    """How many calls Ultravox counts within a range: in each of some buckets, by their beginnings, the oldest first."""

    buckets: dict[datetime, int]
    width: timedelta

    @property
    def total(self) -> int:
        return sum(self.buckets.values())

    def by_day(self) -> SourceCounts:
        """Return the calls of each day that has a bucket."""
        days: Counter[date] = Counter()
        for starts_at, calls in self.buckets.items():
            days[starts_at.date()] += calls
        return SourceCounts(dict(days), in_utc=self.width == HOUR)


def parse_histogram(body: bytes | bytearray, date_from: datetime | None, date_to: datetime) -> Histogram:
    """Take the answer to a request for the calls of `[date_from, date_to)` apart.

    Raises NotAHistogramError where anything in it is not what it should be.
    """
    try:
        usage = _DECODER.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise NotAHistogramError(str(error)) from None
    counted: list[_HourlyBucket] | list[_Bucket] | None = usage.hourly or usage.daily
    if counted is None and usage.hourly is None:
        raise NotAHistogramError("it has neither hours nor days")
    width = HOUR if usage.hourly else DAY
    buckets = {bucket.starts_at(): bucket.count for bucket in counted or ()}
    if len(buckets) < len(counted or ()):
        raise NotAHistogramError("it counts the same time twice")
    histogram = Histogram(dict(sorted(_within(buckets, width, date_from, date_to).items())), width)
    if histogram.total > MOST_CALLS or len(histogram.by_day().days) > MOST_DAYS:
        raise NotAHistogramError("it counts more than there can be")
    return histogram


def _within(
    buckets: dict[datetime, int], width: timedelta, date_from: datetime | None, date_to: datetime
) -> dict[datetime, int]:
    """Return the buckets that lie within a range.

    Where calls are counted outside of it, the API has not kept to the bounds. Of a bucket that reaches over one of them
    nobody knows then how many of its calls are within. Raises NotAHistogramError where it has any.
    """
    start = date_from or datetime.min.replace(tzinfo=UTC)
    within = {at: calls for at, calls in buckets.items() if at < date_to and start - at < width}
    if any(calls for at, calls in buckets.items() if at not in within):
        cut = [calls for at, calls in within.items() if at < start or date_to - at < width]
        if any(cut):
            raise NotAHistogramError("it does not keep to the bounds")
    return within
