"""A job under its lease: a crew of threads, one window each, and a heartbeat."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import structlog

from service.database import Conn, Database
from service.errors import DatabaseError, LeaseLostError
from service.jobs import leases
from service.jobs.job import Job
from service.jobs.leases import Claim, Window
from service.processor.page import Page
from service.processor.window import Stopped, WindowImport

LOOK_AGAIN_SECONDS = 0.5
# A window of more pages is cut at its beginning even if nobody waits for work yet, so that the threads end together;
# but into no more windows for each thread than this, for the API's total need not be true.
LONG_WINDOW_PAGES = 25
WINDOWS_PER_THREAD = 4
FORGET_AT_ONCE = 50_000

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Crew:
    """Works on all windows of a claimed job until they are finished, one thread fails, or the work is to stop."""

    def __init__(
        self,
        database: Database,
        claim: Claim,
        *,
        size: int,
        lease: timedelta,
        stopping: threading.Event,
    ) -> None:
        self._database = database
        self._claim = claim
        self._size = size
        self._lease = lease
        self._stopping = stopping
        self._changed = threading.Condition()
        self._waiting: deque[Window] = deque()
        self._idle = 0
        self._busy = 0
        self._cuts_of_long_windows = 0
        self._failure: Exception | None = None

    def work(self, window_import: WindowImport) -> Job:
        """Import all windows and complete the job.

        Raises the first failure of a thread, LeaseLostError before any other, and Stopped.
        """
        self._waiting.extend(self._through_outages(lambda conn: leases.unfinished_windows(conn, self._claim)))
        with self._heartbeat():
            crew = [
                threading.Thread(target=self._member, args=(window_import,), daemon=True) for _ in range(self._size)
            ]
            for thread in crew:
                thread.start()
            for thread in crew:
                thread.join()
        if self._failure is not None:
            raise self._failure
        if self._stopping.is_set():
            raise Stopped
        while self._through_outages(self._forget_some):
            pass
        return self._through_outages(lambda conn: leases.complete(conn, self._claim))

    def stopped(self) -> bool:
        return self._failure is not None or self._stopping.is_set()

    def wants_cut(self, page: Page) -> bool:
        """Tell whether a window that begins with this page should be cut: others wait for work, or it is a long one."""
        with self._changed:
            if self._idle > len(self._waiting):
                return True
            long = page.total is not None and page.total > LONG_WINDOW_PAGES * len(page.calls) > 0
            if self._size == 1 or not long or self._cuts_of_long_windows >= self._size * WINDOWS_PER_THREAD:
                return False
            self._cuts_of_long_windows += 1
            return True

    def _forget_some(self, conn: Conn) -> bool:
        return leases.forget_listed_calls(conn, self._claim, limit=FORGET_AT_ONCE, lease=self._lease)

    def _through_outages(self, statement: Callable[[Conn], T]) -> T:
        return self._database.run_through_outages(statement, seconds=self._lease.total_seconds())

    def _member(self, window_import: WindowImport) -> None:
        try:
            while (window := self._take_window()) is not None:
                self._hand_in(window_import.run(window))
        except Exception as error:  # raised again in work()
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        with self._changed:
            if self._failure is None or isinstance(error, LeaseLostError):
                self._failure = error
            self._changed.notify_all()

    def _take_window(self) -> Window | None:
        """Return a window that waits; None when there is nothing left to do."""
        with self._changed:
            self._idle += 1
            while not self.stopped() and not self._waiting and self._busy:
                self._changed.wait(LOOK_AGAIN_SECONDS)
            self._idle -= 1
            if self.stopped() or not self._waiting:
                return None
            self._busy += 1
            return self._waiting.popleft()

    def _hand_in(self, windows: list[Window]) -> None:
        """Note that a window is finished, or what it was cut into."""
        with self._changed:
            self._busy -= 1
            self._waiting.extend(windows)
            self._changed.notify_all()

    @contextmanager
    def _heartbeat(self) -> Iterator[None]:
        done = threading.Event()

        def beat() -> None:
            while not done.wait(self._lease.total_seconds() / 3):
                try:
                    with self._database.connection() as conn:
                        leases.heartbeat(conn, self._claim, self._lease)
                except LeaseLostError as error:
                    self._fail(error)
                except DatabaseError as error:
                    log.warning("heartbeat_failed", job_id=str(self._claim.job_id), cause=str(error))

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
