"""Where to cut a job's range before its first page, so that each window has about as many calls by Ultravox' count."""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate, pairwise

from service.processor.histogram import Histogram

# Several windows for each thread even out what the histogram did not know, where each has many pages. Otherwise all
# begin at once: threads that go on with a second window, while others have none, make the import last.
WINDOWS_PER_THREAD = 2
PAGES_PER_WINDOW = 10
# Windows overlap a little, and what they share must not make a page more.
FILL = 0.9


@dataclass(frozen=True)
class Plan:
    """The instants between a job's windows, the oldest first, and how many calls each window is to have."""

    seams: list[datetime]
    calls: list[int]


def plan_windows(
    histogram: Histogram, date_from: datetime | None, date_to: datetime, *, page_size: int, threads: int
) -> Plan:
    """Cut `[date_from, date_to)` by a histogram that counts calls in it."""
    windows = count_windows(histogram.total, page_size, threads)
    starts, reached_in = list(histogram.buckets), list(accumulate(histogram.buckets.values()))
    last_seam, seams, shares = date_from or datetime.min.replace(tzinfo=UTC), [], [0]
    for share in (round(histogram.total * n / windows) for n in range(1, windows)):
        bucket = bisect_right(reached_in, share)
        calls = histogram.buckets[starts[bucket]]
        # Within a bucket calls are taken to be spread evenly. A whole minute, for an API that rounds what it is asked.
        part = (share - reached_in[bucket] + calls) / calls
        seam = (starts[bucket] + histogram.width * part).replace(second=0, microsecond=0)
        if last_seam < seam < date_to:
            last_seam = seam
            seams.append(seam)
            shares.append(share)
    return Plan(seams, [after - before for before, after in pairwise([*shares, histogram.total])])


def count_windows(calls: int, page_size: int, threads: int) -> int:
    """Return into how many windows so many calls are cut, of as many whole pages: one a thread, or more long ones."""
    if calls <= page_size:
        return 1
    pages = -(-calls // max(1, int(page_size * FILL)))
    several = pages >= threads * WINDOWS_PER_THREAD * PAGES_PER_WINDOW
    most = threads * WINDOWS_PER_THREAD if several else threads
    pages_per_window = -(-pages // most)
    return -(-pages // pages_per_window)
