"""Imports a claimed job: its windows shared by several threads, under a heartbeat, then the job completed."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from pydantic import SecretStr

from service.database import Conn, Database
from service.jobs import leases
from service.jobs.job import Job
from service.jobs.leases import Claim, Stored
from service.processor.heartbeat import heartbeat
from service.processor.page_fetcher import PageFetcher
from service.processor.rate_limiter import RateLimiter
from service.processor.ultravox import UltravoxClient
from service.processor.window_importer import WindowImporter
from service.processor.window_queue import WindowQueue

FORGET_AT_ONCE = 50_000

T = TypeVar("T")


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
        windows = self._through_outages(lambda conn: leases.unfinished_windows(conn, self.claim))
        queue = WindowQueue(windows, threads=self.threads, stopping=self.stopping)
        with heartbeat(self.database, self.claim, self.lease, on_lost=queue.fail):
            self._import_windows(queue)
        queue.raise_failure()
        while self._through_outages(self._forget_some):
            pass
        return self._through_outages(lambda conn: leases.complete(conn, self.claim))

    def _import_windows(self, queue: WindowQueue) -> None:
        importer = WindowImporter(
            database=self.database,
            fetcher=PageFetcher(self.claim.job_id, self.client, self.api_key, self.limiter, stopped=queue.stopped),
            claim=self.claim,
            lease=self.lease,
            stopped=queue.stopped,
            wants_cut=queue.wants_cut,
            on_stored=self.on_stored,
        )
        threads = [
            threading.Thread(target=_empty_queue, args=(queue, importer), daemon=True) for _ in range(self.threads)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _forget_some(self, conn: Conn) -> bool:
        return leases.forget_listed_calls(conn, self.claim, limit=FORGET_AT_ONCE, lease=self.lease)

    def _through_outages(self, statement: Callable[[Conn], T]) -> T:
        return self.database.run_through_outages(statement, seconds=self.lease.total_seconds())


def _empty_queue(queue: WindowQueue, importer: WindowImporter) -> None:
    """What a thread of a job does."""
    try:
        while (window := queue.take()) is not None:
            queue.hand_in(importer.run(window))
    except Exception as error:  # raised again by the queue, in the thread that waits for this one
        queue.fail(error)
