"""What a test plans to go wrong, and the undocumented ways that the API may take."""

import random
from collections.abc import Callable
from dataclasses import field
from time import monotonic
from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from service.local.standin.answers import Answer

_STRICT = ConfigDict(extra="forbid", strict=True)  # a slip in a test must not pass
PLANNED = '{"detail":"Planned."}'


@dataclass(config=_STRICT)
class Fault:
    """One planned fault; `times` None: for ever, `after`: so many requests pass first."""

    kind: Literal["status", "half_body", "garbage", "drop"] = "status"
    status: int = 500
    retry_after: str | None = None  # seconds or an HTTP date, sent as it is
    body: str = PLANNED
    times: int | None = 1
    after: int = 0
    probability: float = 1.0

    def fires(self, chance: random.Random) -> bool:
        if self.after > 0:
            self.after -= 1
            return False
        if self.times == 0 or chance.random() >= self.probability:
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def spoil(self, honest: Callable[[], Answer]) -> Answer:
        """What is answered in place of the honest answer."""
        match self.kind:
            case "drop":
                return Answer(0, b"", cut="drop")
            case "garbage":
                return Answer(200, b"<html>upstream said nothing")
            case "status":
                return Answer(self.status, self.body.encode(), self.retry_after)
            case "half_body":
                return honest()._replace(cut="half_body", calls=0)


@dataclass(config=_STRICT)
class HistogramFaults:
    """How the histogram is refused, late or wrong."""

    queue: list[Fault] = field(default_factory=list)  # its own: other requests do not use it up
    status: int | None = None  # of every answer
    retry_after: str | None = None  # beside the status
    raw_body: str | None = None  # sent as it is, with 200 unless there is a status
    latency_seconds: float = 0.0  # on top of that of all requests
    factor: float = 1.0  # by which every totalCount is multiplied, and then rounded
    plus: int = 0  # what is added to every totalCount
    without: list[Literal["allTime", "daily", "hourly"]] = field(default_factory=list)
    empty_hourly: bool = False
    zero_buckets: bool = False  # hours and days without calls are listed too, from the first call to the last
    daily_offset_hours: int = 0  # days are those of another time zone
    hourly_offset_hours: int = 0
    counts_deleted: bool = False
    ignores_bounds: bool = False
    whole_days: bool = False  # the bounds are rounded outwards, in UTC


@dataclass(config=_STRICT)
class Faults:
    """What goes wrong, and which undocumented ways the API takes. Change it at any time."""

    queue: list[Fault] = field(default_factory=list)  # of all requests but those for the histogram
    seed: int = 0  # of the faults with a probability
    latency_seconds: float = 0.0  # of all requests
    auth_status: Literal[401, 403] = 403
    rate_limit_per_second: int | None = None  # per key
    max_page_size: int = 100  # larger page sizes are cut to it silently
    cursor_ttl: int | None = None  # a cursor lives for this many further list requests of its key
    unlisted: list[str] = field(default_factory=list)  # ids that the list never gives, and the histogram counts
    ignore_sort: bool = False  # oldest first, whatever is asked
    endless: bool = False  # after the last page `next` starts again from the first
    foreign_next: str | None = None  # another origin for `next`, such as http://127.0.0.1:1
    next_form: Literal["absolute", "relative", "empty_string_at_end", "missing_at_end"] = "absolute"
    total: Literal["exact", "zero", "missing"] = "exact"
    histogram: HistogramFaults = field(default_factory=HistogramFaults)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 (repeatable, not secret)
        self._admitted: dict[str, list[float]] = {}

    def take(self, queue: list[Fault]) -> Fault | None:
        """The first planned fault that this request meets; a used-up one leaves the queue."""
        taken = next((fault for fault in queue if fault.fires(self._chance)), None)
        if taken and taken.times == 0:
            queue.remove(taken)
        return taken

    def admits(self, key: str) -> bool:
        """Whether the key is still within its limit over the last second."""
        if self.rate_limit_per_second is None:
            return True
        now = monotonic()
        recent = [moment for moment in self._admitted.get(key, []) if now - moment < 1]
        admitted = len(recent) < self.rate_limit_per_second
        self._admitted[key] = [*recent, now] if admitted else recent
        return admitted
