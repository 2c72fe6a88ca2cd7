"""Claims due jobs and works on them, several side by side, until none is due or it is told to stop.

Postgres coordinates: any number of processors may run, and any may be killed anywhere.
"""

import threading
import time
from collections.abc import Callable, Iterable
from datetime import timedelta

import structlog

from service.database import Database
from service.errors import DatabaseError
from service.jobs import leases, monitoring
from service.jobs.leases import Claim
from service.processor.errors import StopRequested
from service.processor.job_runner import JobResult, JobRunner
from service.processor.ultravox import UltravoxClient
from service.settings import Settings

# A new job is to be taken within a second. Nobody is told of it: a NOTIFY holds one lock of the whole server over its
# commit, and would line all starts up.
POLL_SECONDS = 0.5
# Of the 10 seconds that a stop may take.
SHUTDOWN_SECONDS = 5.0
RELEASE_SECONDS = 3.0
REPORT_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Dispatcher:
    """A pass over the due jobs, or a watch: a thread for each job that it has claimed."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self._lease = timedelta(seconds=settings.lease_seconds)
        self._jobs_at_once = settings.processor_jobs
        self._client = UltravoxClient(
            settings.ultravox_api_url,
            timeout=settings.ultravox_timeout,
            connections=settings.processor_jobs * settings.processor_windows,
        )
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._runner = JobRunner(settings, database, self._client, stopping=self._stopping)
        self._running: dict[threading.Thread, Claim] = {}
        self._results: dict[str, JobResult] = {}
        self._failed_look: DatabaseError | None = None  # the last look for due jobs, where it failed

    def stop(self) -> None:
        """Finish the pages in hand and give the leases back. Safe in a signal handler."""
        self._stopping.set()
        self._wake.set()

    def results(self) -> list[JobResult]:
        """Return what became of each job so far."""
        return list(self._results.values())

    def run(self, *, watch: bool) -> None:
        """Work until no job is due, or with `watch` until stopped.

        Raises DatabaseError where the database is away at a claim. A watch waits for it, and raises it in the end if
        it was of no use: nothing was done, and nobody knows whether a job is due.
        """
        while not self._stopping.is_set():
            self._wake.clear()
            self._running = {thread: claim for thread, claim in self._running.items() if thread.is_alive()}
            claimed = self._claim_or_wait(watch)
            if not (claimed or watch or self._running):
                break
            self._report_requests()
            self._wake.wait(POLL_SECONDS)
        self._shut_down()
        _within(REPORT_SECONDS, [_started(self._report_requests)])
        if self._failed_look and not self._results:
            raise self._failed_look

    def _claim_or_wait(self, watch: bool) -> bool:
        try:
            claimed = self._claim_due_jobs()
        except DatabaseError as error:
            if not (watch or self._running):
                raise
            self._failed_look = error
            log.warning("claim_failed", cause=str(error))
            return False
        self._failed_look = None
        return claimed

    def _claim_due_jobs(self) -> bool:
        claimed = False
        while len(self._running) < self._jobs_at_once and not self._stopping.is_set():
            with self._database.connection() as conn:
                claim = leases.claim(conn, self._lease)
            if claim is None:
                break
            claimed = True
            self._running[_started(self._run, claim)] = claim
        return claimed

    def _run(self, claim: Claim) -> None:
        self._note(self._runner.run(claim))
        self._wake.set()

    def _note(self, result: JobResult) -> None:
        self._results[result.job_id] = result

    def _report_requests(self) -> None:
        if counts := self._client.take_counts():
            try:
                with self._database.connection() as conn:
                    monitoring.count_ultravox_requests(conn, counts)
            except DatabaseError as error:
                log.warning("requests_not_counted", counts=dict(counts), cause=str(error))

    def _shut_down(self) -> None:
        _within(SHUTDOWN_SECONDS, self._running)
        # A page is stuck in the API, or the database is away. Should the page still come, the fence refuses it.
        stuck = [claim for thread, claim in self._running.items() if thread.is_alive()]
        _within(RELEASE_SECONDS, [_started(self._release, claim) for claim in stuck])

    def _release(self, claim: Claim) -> None:
        self._note(self._runner.end_lease(claim, StopRequested()))


def _started(target: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread


def _within(seconds: float, threads: Iterable[threading.Thread]) -> None:
    """Wait so long, over all of them, for threads to end."""
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
