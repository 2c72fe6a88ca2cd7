"""Tells an API whose pages never end from one that has many."""

from dataclasses import dataclass, field

from service.jobs.leases import Stored
from service.processor.call_page import CallPage
from service.processor.errors import JobFailedError

# Pages in a row after which an API is believed to be endless: the same ones as before, empty ones, and such as hold
# only calls that the job has been given already, as they do where an API does not keep to its bounds.
REPEATED_PAGES = 3
EMPTY_PAGES = 100
BARREN_PAGES = 10_000
# Halving a range of years down to a second takes less than half as many.
FORGOTTEN_IN_A_ROW = 60
# After so many it is not by chance that cursors are forgotten: any smaller window helps then.
SHORT_LIVED = 10


@dataclass
class EndlessGuard:
    """Looks at each page of a window that has a next one: an endless API brings nothing new, again and again."""

    most_known_calls: int | None = None  # so many may be listed in a row
    brought_calls: bool = False
    _known: int = 0
    _seen: set[int] = field(default_factory=set)
    _repeated: int = 0
    _empty: int = 0
    _barren: int = 0

    def check(self, page: CallPage, stored: Stored) -> None:
        """Raises JobFailedError."""
        known = hash(tuple(page.calls))
        self.brought_calls = self.brought_calls or stored.brought_calls
        self._repeated = self._repeated + 1 if page.calls and known in self._seen else 0
        self._empty = 0 if page.calls else self._empty + 1
        self._barren = 0 if stored.brought_calls else self._barren + 1
        self._known = 0 if stored.brought_calls else self._known + len(page.calls)
        self._seen.add(known)
        too_many = self.most_known_calls is not None and self._known > self.most_known_calls
        if too_many or self._repeated >= REPEATED_PAGES or self._empty >= EMPTY_PAGES or self._barren >= BARREN_PAGES:
            raise JobFailedError("Ultravox keeps giving next pages without new calls.")


@dataclass
class ForgottenCursors:
    """Tells an API whose cursors are of no use, over all windows of a job: one after the other, and no call is new."""

    _in_a_row: int = 0

    @property
    def are_short_lived(self) -> bool:
        return self._in_a_row > SHORT_LIVED

    def note(self, *, brought_calls: bool) -> None:
        """Raises JobFailedError."""
        self._in_a_row = 0 if brought_calls else self._in_a_row + 1
        if self._in_a_row > FORGOTTEN_IN_A_ROW:
            raise JobFailedError("Ultravox forgets its place in the list again and again, without new calls.")
