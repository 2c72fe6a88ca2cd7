"""A job under its lease: a crew of threads, one window each, and a heartbeat.

A thread without a window takes the older half of the largest that is still being paged.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from service import leases
from service.db import Database
from service.errors import LeaseLostError, ServiceError
from service.jobs import Job
from service.leases import Claim, Stored, Window
from service.paging import Pager, Stopped

LOOK_AGAIN_SECONDS = 0.5

log = structlog.get_logger(__name__)


@dataclass
class Paged:
    """A window in a thread's hands, as those who look for work see it."""

    splittable: bool = False
    starts_at: datetime | None = None
    reached: datetime | None = None

    @property
    def span(self) -> timedelta:
        oldest = self.starts_at or datetime.min.replace(tzinfo=UTC)
        return (self.reached or oldest) - oldest


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
        on_stored: Callable[[Claim, Stored], None],
    ) -> None:
        self._database = database
        self._claim = claim
        self._size = size
        self._lease = lease
        self._stopping = stopping
        self._on_stored = on_stored
        self._changed = threading.Condition()
        self._waiting: list[Window] = []
        self._paged: dict[int, Paged] = {}
        self._failure: Exception | None = None

    def work(self, pager: Pager) -> Job:
        """Page all windows and complete the job.

        Raises the first failure of a thread, LeaseLostError before any other, and Stopped.
        """
        patience = self._lease.total_seconds()
        self._waiting = self._database.run_through_outages(
            lambda conn: leases.unfinished_windows(conn, self._claim), seconds=patience
        )
        with self._heartbeat():
            crew = [threading.Thread(target=self._member, args=(pager,), daemon=True) for _ in range(self._size)]
            for thread in crew:
                thread.start()
            for thread in crew:
                thread.join()
        if self._failure is not None:
            raise self._failure
        if self._stopping.is_set():
            raise Stopped
        return self._database.run_through_outages(lambda conn: leases.complete(conn, self._claim), seconds=patience)

    def stopped(self) -> bool:
        return self._failure is not None or self._stopping.is_set()

    def _member(self, pager: Pager) -> None:
        try:
            while (window := self._take_window()) is not None:
                for stored in pager.pages(window):
                    self._on_stored(self._claim, stored)
                    self._note(window, stored)
        except Exception as error:  # raised again in work()
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        with self._changed:
            if self._failure is None or isinstance(error, LeaseLostError):
                self._failure = error
            self._changed.notify_all()

    def _note(self, window: Window, stored: Stored) -> None:
        with self._changed:
            if stored.finished:
                del self._paged[window.id]
            else:
                paged = self._paged[window.id]
                paged.splittable = stored.splittable
                paged.reached = stored.reached
            self._changed.notify_all()

    def _take_window(self) -> Window | None:
        """Return a window that waits, or half of one that is being paged; None when there is nothing left to do."""
        while True:
            with self._changed:
                while not self.stopped() and not self._waiting and self._paged and self._largest() is None:
                    self._changed.wait(LOOK_AGAIN_SECONDS)
                if self.stopped() or not (self._waiting or self._paged):
                    return None
                if self._waiting:
                    window = self._waiting.pop(0)
                    self._paged[window.id] = Paged(starts_at=window.starts_at)
                    return window
                largest = self._largest()
                if largest is not None:
                    self._paged[largest].splittable = False  # until its next page
            if largest is not None and (half := self._split(largest)):
                return half

    def _largest(self) -> int | None:
        spans = {number: paged.span for number, paged in self._paged.items() if paged.splittable}
        return max(spans, key=spans.__getitem__, default=None)

    def _split(self, window_id: int) -> Window | None:
        try:
            with self._database.connection() as conn:
                half = leases.split_window(conn, self._claim, window_id)
        except ServiceError as error:
            # Sharing only saves time.
            log.warning("split_failed", job_id=str(self._claim.job_id), cause=error.reason)
            half = None
        if half is not None:
            with self._changed:
                self._paged[half.id] = Paged(starts_at=half.starts_at)
                if window_id in self._paged:
                    self._paged[window_id].starts_at = half.ends_at
        return half

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
                except ServiceError as error:
                    log.warning("heartbeat_failed", job_id=str(self._claim.job_id), cause=error.reason)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
