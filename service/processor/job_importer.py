"""Imports a claimed job under a heartbeat: plan it, import its windows with several threads, verify it, complete it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import structlog
from pydantic import SecretStr

from service.database import Conn, Database
from service.errors import DatabaseError
from service.jobs import leases
from service.jobs.job import Job
from service.jobs.leases import Claim, Stored, Window
from service.processor.backlog import Backlog
from service.processor.errors import StopRequested
from service.processor.heartbeat import heartbeat
from service.processor.histogram import Histogram
from service.processor.page_fetcher import PageFetcher
from service.processor.plan import plan_windows
from service.processor.rate_limiter import RateLimiter
from service.processor.ultravox import UltravoxClient
from service.processor.window_importer import WindowImporter
from service.processor.window_queue import WindowQueue

FORGET_AT_ONCE = 50_000
# Ultravox is asked for its own count before the first page and after the last one. Together that delays an import by
# five seconds at most.
PLAN_SECONDS = 2.0
VERIFY_SECONDS = 3.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class JobImporter:
    """Imports one job with the API key of its agency."""

    database: Database
    client: UltravoxClient
    claim: Claim
    api_key: SecretStr
    limiter: RateLimiter
    lease: timedelta
    threads: int
    stopping: threading.Event
    on_stored: Callable[[Claim, Stored], None]

    def run(self) -> Job:
        """Import all windows and complete the job.

        Raises the first failure of a thread, LeaseLostError before any other, and StopRequested.
        """
        backlog = Backlog()
        queue = WindowQueue(
            threads=self.threads,
            stopping=self.stopping,
            is_at_its_limit=lambda: backlog.is_long or self.limiter.is_exhausted,
        )
        with heartbeat(self.database, self.claim, self.lease, on_lost=queue.fail):
            self._import(queue, backlog, self._plan())
            if rechecks := self._verify():
                self._import(queue, backlog, rechecks)
        job = self._through_outages(lambda conn: leases.complete(conn, self.claim))
        self._forget_listed_calls()
        return job

    def _plan(self) -> list[Window]:
        """Return the windows to import: of a job that is at its beginning, as many and as wide as its calls ask for."""
        windows = self._through_outages(lambda conn: leases.unfinished_windows(conn, self.claim))
        if not self._is_at_its_beginning(windows):
            return windows
        histogram = self._histogram(PLAN_SECONDS)
        if histogram is None or not histogram.total:
            # For no calls one window will do. Should there be some, its first page says how many.
            return windows
        plan = plan_windows(
            histogram,
            self.claim.date_from,
            self.claim.date_to,
            page_size=self.claim.page_size,
            threads=self.threads,
        )
        return self._through_outages(
            lambda conn: leases.plan(
                conn, self.claim, windows[0].id, seams=plan.seams, planned=plan.calls, counts=histogram.by_day()
            )
        )

    def _is_at_its_beginning(self, windows: list[Window]) -> bool:
        match windows:
            case [Window(cursor=None, planned_calls=None, is_recheck=False) as window]:
                return (window.starts_at, window.ends_at) == (self.claim.date_from, self.claim.date_to)
        return False

    def _import(self, queue: WindowQueue, backlog: Backlog, windows: list[Window]) -> None:
        queue.put(windows)
        importer = WindowImporter(
            database=self.database,
            fetcher=PageFetcher(self.claim.job_id, self.client, self.api_key, self.limiter, stopped=queue.stopped),
            claim=self.claim,
            lease=self.lease,
            stopped=queue.stopped,
            wants_cut=queue.wants_cut,
            on_stored=self.on_stored,
            backlog=backlog,
        )
        threads = [
            threading.Thread(target=_empty_queue, args=(queue, importer), daemon=True) for _ in range(self.threads)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        queue.raise_failure()

    def _verify(self) -> list[Window]:
        """Compare what has arrived with Ultravox' count; return a window for each day to be paged once more."""
        histogram = self._histogram(VERIFY_SECONDS)
        counts = histogram.by_day() if histogram else None
        return self._through_outages(
            lambda conn: leases.compare_with_source(conn, self.claim, counts, lease=self.lease)
        )

    def _histogram(self, seconds: float) -> Histogram | None:
        wait = max(self.limiter.reserve(), self.limiter.paused())
        if self.stopping.wait(min(wait, seconds)):
            raise StopRequested
        if wait >= seconds:
            return None
        return self.client.histogram(self.api_key, self.claim.date_from, self.claim.date_to, seconds=seconds - wait)

    def _forget_listed_calls(self) -> None:
        """Forget what the job has counted, as far as nobody waits: the agency's next job forgets the rest."""
        try:
            while not self.stopping.is_set():
                with self.database.connection() as conn:
                    if not leases.forget_listed_calls(conn, self.claim, limit=FORGET_AT_ONCE):
                        break
        except DatabaseError as error:
            log.warning("listed_calls_left", job_id=str(self.claim.job_id), cause=str(error))

    def _through_outages(self, statement: Callable[[Conn], T]) -> T:
        return self.database.run_through_outages(statement, seconds=self.lease.total_seconds())


def _empty_queue(queue: WindowQueue, importer: WindowImporter) -> None:
    """What a thread of a job does."""
    try:
        while (window := queue.take()) is not None:
            queue.hand_in(importer.run(window))
    except Exception as error:  # raised again by the queue, in the thread that waits for this one
        queue.fail(error)
