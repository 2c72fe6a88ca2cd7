"""The calls of one API key, their pages and their histogram."""

import base64
import json
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

from service.local.demo_calls import Call
from service.local.standin.answers import Answer, RefusedError, to_json
from service.local.standin.faults import PLANNED, Faults, HistogramFaults
from service.local.standin.histogram import Counts, counts_of, histogram
from service.local.standin.instants import END, bounds, stamp

Key = tuple[str, str]  # (created, callId): unique, and sorts by time

DEFAULT_PAGE_SIZE = 50


class Row(NamedTuple):
    """A call, serialized and counted once: a page is a join, a histogram a sum."""

    key: Key
    body: bytes
    counts: Counts


class Account:
    """One key's calls, kept in order, so that a page or a range is found by bisection."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self.rows = {call["callId"]: _row(call) for call in calls}
        self.order = sorted(row.key for row in self.rows.values())
        self.deleted: dict[str, Row] = {}  # kept for the histogram, which may count them
        self.lists = 0  # list requests so far: the clock of `cursor_ttl`

    def put(self, call: Call) -> None:
        """Add a call, or replace the one of the same callId."""
        row, call_id = _row(call), call["callId"]
        if call_id in self.rows:
            self.delete(call_id)
        self.deleted.pop(call_id, None)
        self.rows[call_id] = row
        insort(self.order, row.key)

    def delete(self, call_id: str) -> None:
        row = self.deleted[call_id] = self.rows.pop(call_id)
        del self.order[bisect_left(self.order, row.key)]

    def page(self, query: dict[str, str], origin: str, faults: Faults) -> Answer:
        """One page: cut the window, go to the cursor, take calls in the asked direction."""
        self.lists += 1
        sort, size = query.get("sort") or "-created", query.get("pageSize", "")
        if sort not in ("created", "-created") and not faults.ignore_sort:
            raise RefusedError(400, {"sort": ["Only created and -created are known here."]})
        ascending = faults.ignore_sort or sort == "created"
        unlisted = set(faults.unlisted)
        order = [key for key in self.order if key[1] not in unlisted] if unlisted else self.order
        low, high = _span(order, *bounds(query))
        beginning = ("", "") if ascending else (END, END)
        place = self._place(query["cursor"], faults.cursor_ttl) if query.get("cursor") else beginning
        # A size that is no positive number is ignored, a large one is cut: both silently.
        limit = min(int(size) if size.isdecimal() and int(size) else DEFAULT_PAGE_SIZE, faults.max_page_size)
        if ascending:
            start = max(low, bisect_right(order, place))
            keys = order[start : min(high, start + limit)]
            more = start + limit < high
        else:
            end = min(high, bisect_left(order, place))
            keys = order[max(low, end - limit) : max(low, end)][::-1]
            more = end - limit > low
        frame: dict[str, Any] = {"previous": None}
        if more or faults.endless:
            frame["next"] = self._next(keys[-1] if more else beginning, query, origin, faults)
        elif faults.next_form != "missing_at_end":
            frame["next"] = "" if faults.next_form == "empty_string_at_end" else None
        if faults.total != "missing":
            frame["total"] = high - low if faults.total == "exact" else 0
        results = b",".join(self.rows[call_id].body for _, call_id in keys)
        return Answer(200, b'{"results":[%b],%b' % (results, to_json(frame)[1:]), calls=len(keys))

    def histogram(self, query: dict[str, str], faults: HistogramFaults) -> Answer:
        if faults.status is not None or faults.raw_body is not None:
            body = PLANNED if faults.raw_body is None else faults.raw_body
            return Answer(faults.status or 200, body.encode(), faults.retry_after)
        first, last = ("", END) if faults.ignores_bounds else bounds(query)
        if faults.whole_days:  # a date alone sorts before the day's instants, and with END after them
            first, last = first[: len("2026-01-31")], last[: len("2026-01-31")] + END
        low, high = _span(self.order, first, last)
        calls = [self.rows[call_id] for _, call_id in self.order[low:high]]
        if faults.counts_deleted:
            calls += [row for row in self.deleted.values() if first <= row.key[0] <= last]
        return Answer(200, to_json(histogram(((row.key[0], row.counts) for row in calls), faults)))

    def _next(self, place: Key, query: dict[str, str], origin: str, faults: Faults) -> str:
        """A cursor is a place between two calls, by value: calls that come or go meanwhile do not move it."""
        cursor = base64.urlsafe_b64encode(to_json([*place, self.lists])).decode()
        origin = faults.foreign_next or ("" if faults.next_form == "relative" else origin)
        return f"{origin}/api/calls?{urlencode({**query, 'cursor': cursor})}"

    def _place(self, cursor: str, ttl: int | None) -> Key:
        with suppress(ValueError):
            match json.loads(base64.urlsafe_b64decode(cursor)):
                case [str(created), str(call_id), int(issued)] if ttl is None or self.lists - issued <= ttl:
                    return created, call_id
        raise RefusedError(404, {"detail": "Invalid cursor"})


def _row(call: Call) -> Row:
    key = stamp(datetime.fromisoformat(call["created"])), call["callId"]
    return Row(key, to_json(call), counts_of(call))


def _span(order: list[Key], first: str, last: str) -> tuple[int, int]:
    """Where the keys of these instants begin and end."""
    low = bisect_left(order, (first, ""))
    return low, max(low, bisect_right(order, (last, END)))
