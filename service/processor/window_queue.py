"""The windows of a job that wait for a thread, and whether another one should be cut so that all threads have work."""

import threading
from collections import deque
from collections.abc import Callable

from service.errors import LeaseLostError
from service.jobs.leases import Window
from service.processor.call_page import CallPage
from service.processor.errors import StopRequested

LOOK_AGAIN_SECONDS = 0.5
# A window of fewer pages is not worth a cut.
SHORT_WINDOW_PAGES = 2
# A window of more pages is cut at its beginning even if nobody waits for work yet, so that the threads end together;
# but no more often for each thread than this, for the API's total need not be true.
LONG_WINDOW_PAGES = 25
CUTS_PER_THREAD = 4
# A planned window that has so many times the calls that it was planned for may be cut wherever it is: the plan was made
# from a count that is wrong, and nothing tells how much of it is left.
OVERRUN = 2


class WindowQueue:
    """Gives the windows of a job to its threads until all are finished, one thread fails, or the work is to stop."""

    def __init__(self, *, threads: int, stopping: threading.Event, is_at_its_limit: Callable[[], bool]) -> None:
        """More windows at once make nothing faster while the job `is_at_its_limit`."""
        self._threads = threads
        self._stopping = stopping
        self._is_at_its_limit = is_at_its_limit
        self._changed = threading.Condition()
        self._waiting: deque[Window] = deque()
        self._idle = 0
        self._busy = 0
        self._cuts_of_long_windows = 0
        self._failure: Exception | None = None

    def put(self, windows: list[Window]) -> None:
        """Add windows, while no thread works on any."""
        self._waiting.extend(windows)

    def take(self) -> Window | None:
        """Return a window that waits, when there is one; None when there is nothing left to do."""
        with self._changed:
            self._idle += 1
            while not self.stopped() and not self._waiting and self._busy:
                self._changed.wait(LOOK_AGAIN_SECONDS)
            self._idle -= 1
            if self.stopped() or not self._waiting:
                return None
            self._busy += 1
            return self._waiting.popleft()

    def hand_in(self, windows: list[Window]) -> None:
        """Note that the window taken is finished, or what it was cut into."""
        with self._changed:
            self._busy -= 1
            self._waiting.extend(windows)
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """End the work of all threads. The first failure counts, and a lost lease before any other."""
        with self._changed:
            if self._failure is None or isinstance(error, LeaseLostError):
                self._failure = error
            self._changed.notify_all()

    def stopped(self) -> bool:
        return self._failure is not None or self._stopping.is_set()

    def raise_failure(self) -> None:
        """Raises what `fail` was told, or StopRequested where the work was to stop."""
        if self._failure is not None:
            raise self._failure
        if self._stopping.is_set():
            raise StopRequested

    def wants_cut(self, window: Window, page: CallPage, listed: int) -> bool:
        """Tell whether a window should be cut that has listed so many calls, the last of them with this page.

        One that goes as planned is not; the others are where somebody waits for work, or because they are long.
        """
        with self._changed:
            if window.is_recheck:
                return False  # nothing in it is expected to be new
            somebody_waits = self._idle > len(self._waiting) and not self._is_at_its_limit()
            if window.planned_calls is not None:
                return somebody_waits and max(listed, page.total or 0) > OVERRUN * window.planned_calls
            if somebody_waits:
                # Both halves list again what this page has, so there has to be more.
                return page.total is None or page.total > SHORT_WINDOW_PAGES * len(page.calls)
            long = page.total is not None and page.total > LONG_WINDOW_PAGES * len(page.calls) > 0
            if self._threads == 1 or not long or self._cuts_of_long_windows >= self._threads * CUTS_PER_THREAD:
                return False
            self._cuts_of_long_windows += 1
            return True
