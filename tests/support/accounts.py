"""An account at an API of any make: whatever its order, the fineness of its times, its bounds and its cursors are."""

import json
import random
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import parse_qs, urlencode

from pydantic import SecretStr

from service.processor.call_page import CallPage, parse_page
from service.processor.errors import StaleCursorError
from service.processor.histogram import Histogram

MICROSECOND = timedelta(microseconds=1)


@dataclass
class Account:
    """Stands in for the client of the Ultravox API. The same query lists the same calls in the same order."""

    created: list[datetime]  # of each call, exactly
    order: Literal["newest first", "oldest first", "none"] = "newest first"
    late: dict[int, int] = field(default_factory=dict)  # calls that are listed so many places later
    resolution: timedelta = MICROSECOND  # of the times that it shows
    filters_by_shown: bool = False
    rounds_bounds: timedelta = MICROSECOND
    exclusive: bool = False
    ignores: frozenset[str] = frozenset()
    page_size: int = 3
    overlap: int = 0  # calls of a page that the next one begins with
    empty_pages: int = 0  # before the calls
    forgets: frozenset[int] = frozenset()  # requests, by number, whose cursor is not known any more
    forgets_all: bool = False
    counted: Histogram | None = None  # by itself, whatever it has
    requests: int = 0

    def page(self, _: SecretStr, query: str, *, largest: int = 0) -> CallPage:
        self.requests += 1
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        if "cursor" in asked and (self.forgets_all or self.requests in self.forgets):
            raise StaleCursorError("forgotten")
        listed = self.listed(asked.get("fromDate"), asked["toDate"])
        start = int(asked.get("cursor", -self.empty_pages * self.page_size))
        end = start + self.page_size
        after = urlencode({**asked, "cursor": end - (self.overlap if end > 0 else 0)})
        answer: dict[str, Any] = {"results": [self.call(number) for number in listed[max(start, 0) : max(end, 0)]]}
        answer["next"] = f"http://anywhere/api/calls?{after}" if end < len(listed) else None
        return parse_page(json.dumps(answer).encode(), time.monotonic())

    def histogram(self, *_: object, **__: object) -> Histogram | None:
        return self.counted

    def listed(self, from_date: str | None, to_date: str) -> list[int]:
        """The numbers of the calls within bounds, as this API understands them, in its order."""
        low = None if from_date is None or "fromDate" in self.ignores else self._bound(from_date)
        high = None if "toDate" in self.ignores else self._bound(to_date)
        numbers = [n for n in range(len(self.created)) if self._within(n, low, high)]
        if self.order == "none":
            random.Random(len(numbers)).shuffle(numbers)
        else:
            numbers.sort(key=lambda n: (self.created[n], n), reverse=self.order == "newest first")
        for number, places in self.late.items():
            if number in numbers:
                place = numbers.index(number)
                numbers.remove(number)
                numbers.insert(place + places, number)
        return numbers

    def call(self, number: int) -> dict[str, Any]:
        return {"callId": f"call-{number}", "created": self.shown(number).isoformat()}

    def shown(self, number: int) -> datetime:
        return floor(self.created[number], self.resolution)

    def expected(self, date_from: datetime | None, date_to: datetime) -> set[str]:
        """What an import of a range must bring: what the API lists for it, as far as it shows it to be in it."""
        listed = self.listed(date_from.isoformat() if date_from else None, date_to.isoformat())
        return {
            f"call-{n}" for n in listed if (date_from is None or self.shown(n) >= date_from) and self.shown(n) < date_to
        }

    def _within(self, number: int, low: datetime | None, high: datetime | None) -> bool:
        moment = self.shown(number) if self.filters_by_shown else self.created[number]
        if self.exclusive:
            return (low is None or moment > low) and (high is None or moment < high)
        return (low is None or moment >= low) and (high is None or moment <= high)

    def _bound(self, text: str) -> datetime:
        return floor(datetime.fromisoformat(text), self.rounds_bounds)


def floor(moment: datetime, unit: timedelta) -> datetime:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // unit * unit
