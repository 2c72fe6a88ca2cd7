"""Claims due jobs and works on them, several side by side, until none is due or it is told to stop.

Postgres coordinates: any number of processors may run, and any may be killed anywhere.
"""

import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import structlog
from pydantic import SecretStr

from service.database import Database
from service.errors import DatabaseError, LeaseLostError
from service.jobs import leases
from service.jobs.job import Job
from service.jobs.leases import Claim, Stored
from service.processor.credentials import Credentials, UnreadableKeyError
from service.processor.crew import Crew
from service.processor.ultravox import Pace, RetryableError, UltravoxClient, UltravoxError
from service.processor.window import Stopped, WindowImport
from service.settings import Settings

POLL_SECONDS = 0.8
# Of the 10 seconds that a stop may take.
SHUTDOWN_SECONDS = 5.0
RELEASE_SECONDS = 3.0
REPORT_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Progress(Protocol):
    """Shows how far the jobs are."""

    def advance(self, claim: Claim, stored: Stored) -> None: ...

    def finish(self, claim: Claim) -> None: ...


@dataclass(frozen=True)
class Result:
    """What became of a job in this pass, as the original function reported it."""

    job_id: str
    status: str
    imported: int = 0
    skipped: int = 0
    failed: int = 0
    reason: str | None = None
    error: str | None = None

    @classmethod
    def of(cls, job: Job) -> "Result":
        return cls(
            job_id=str(job.id),
            status=job.status,
            imported=job.imported_calls,
            skipped=job.skipped_calls,
            failed=job.failed_calls,
            reason="all_calls_fetched" if job.status == "completed" else None,
            error=job.error_message,
        )

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}


class Processor:
    """A pass over the due jobs, or a watch."""

    def __init__(self, settings: Settings, database: Database, progress: Progress) -> None:
        self._settings = settings
        self._database = database
        self._progress = progress
        self._lease = timedelta(seconds=settings.lease_seconds)
        self._client = UltravoxClient(
            settings.ultravox_api_url,
            timeout=settings.ultravox_timeout,
            connections=settings.processor_jobs * settings.processor_windows,
        )
        self._credentials = Credentials(settings.credentials_key)
        self._paces: dict[str, Pace] = {}
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._running: dict[threading.Thread, Claim] = {}
        self._results: dict[str, Result] = {}

    def stop(self) -> None:
        """Finish the pages in hand and give the leases back. Safe in a signal handler."""
        self._stopping.set()
        self._wake.set()

    def wake(self) -> None:
        """Look for due jobs now."""
        self._wake.set()

    def results(self) -> list[Result]:
        """Return what became of each job so far."""
        return list(self._results.values())

    def run(self, *, watch: bool) -> None:
        """Work until no job is due, or with `watch` until stopped.

        Raises DatabaseError where the database is away at a claim; a watch waits for it.
        """
        while not self._stopping.is_set():
            self._wake.clear()
            self._running = {thread: claim for thread, claim in self._running.items() if thread.is_alive()}
            try:
                claimed = self._claim_due_jobs()
            except DatabaseError as error:
                if not (watch or self._running):
                    raise
                claimed = False
                log.warning("claim_failed", cause=str(error))
            if not (claimed or watch or self._running):
                break
            self._report_requests()
            self._wake.wait(POLL_SECONDS)
        self._shut_down()
        report = threading.Thread(target=self._report_requests, daemon=True)
        report.start()
        report.join(REPORT_SECONDS)

    def _claim_due_jobs(self) -> bool:
        claimed = False
        while len(self._running) < self._settings.processor_jobs and not self._stopping.is_set():
            with self._database.connection() as conn:
                claim = leases.claim(conn, self._lease)
            if claim is None:
                break
            claimed = True
            thread = threading.Thread(target=self._work, args=(claim,), daemon=True)
            self._running[thread] = claim
            thread.start()
        return claimed

    def _work(self, claim: Claim) -> None:
        log.info("job_claimed", job_id=str(claim.job_id), agency_id=str(claim.agency_id))
        try:
            result = Result.of(self._import(claim))
        except Exception as error:  # whatever it was, the lease must not just run out
            result = self._end(claim, error)
        self._results[result.job_id] = result
        log.info("job_left", **result.as_json())
        self._progress.finish(claim)
        self._wake.set()

    def _import(self, claim: Claim) -> Job:
        if claim.consecutive_failures >= self._settings.processor_max_failures:
            raise UltravoxError(
                f"The processor broke off {claim.consecutive_failures} times in a row without storing a page of calls."
                " Resume the job once its operator has looked into the processor's log."
            )
        crew = Crew(
            self._database,
            claim,
            size=self._settings.processor_windows,
            lease=self._lease,
            stopping=self._stopping,
        )
        api_key = self._api_key(claim)
        window_import = WindowImport(
            database=self._database,
            client=self._client,
            pace=self._pace(api_key),
            claim=claim,
            api_key=api_key,
            lease=self._lease,
            stopped=crew.stopped,
            wants_cut=crew.wants_cut,
            on_stored=self._progress.advance,
        )
        return crew.work(window_import)

    def _api_key(self, claim: Claim) -> SecretStr:
        if claim.api_key_encrypted is not None:
            try:
                return self._credentials.decrypt(claim.api_key_encrypted)
            except UnreadableKeyError as error:
                log.warning("api_key_unreadable", agency_id=str(claim.agency_id), cause=str(error))
                raise UltravoxError("Agency API key cannot be read. Set it again and resume.") from None
        if self._settings.ultravox_api_key is None:
            raise UltravoxError("Agency API key not configured")
        return self._settings.ultravox_api_key

    def _pace(self, api_key: SecretStr) -> Pace:
        pace = Pace(self._settings.ultravox_requests_per_second)
        return self._paces.setdefault(api_key.get_secret_value(), pace)

    def _end(self, claim: Claim, error: Exception) -> Result:
        """End the lease as `error` asks for."""
        try:
            with self._database.connection() as conn:
                match error:
                    case LeaseLostError():
                        raise error
                    case Stopped():
                        job = leases.release(conn, claim)
                    case UltravoxError() if not isinstance(error, RetryableError):
                        job = leases.fail(conn, claim, str(error))
                    case _:
                        job = self._reschedule(conn, claim, error)
        except LeaseLostError as lost:
            return Result(str(claim.job_id), lost.job_status, lost.imported, lost.skipped, lost.failed)
        except DatabaseError as away:
            # The lease runs out by itself, and the job is claimed again.
            log.warning("lease_left_to_run_out", job_id=str(claim.job_id), cause=str(away))
            return Result(job_id=str(claim.job_id), status="in_progress")
        return Result.of(job)

    def _reschedule(self, conn: Any, claim: Claim, error: Exception) -> Job:
        message, retry_after = "The import was interrupted and will be tried again.", None
        if isinstance(error, RetryableError):
            message = str(error)
            retry_after = None if error.retry_after is None else timedelta(seconds=error.retry_after)
        else:
            log.error("job_interrupted", job_id=str(claim.job_id), exc_info=error)
        return leases.reschedule(
            conn, claim, message, retry_after=retry_after, max_failures=self._settings.processor_max_failures
        )

    def _report_requests(self) -> None:
        if counts := self._client.take_counts():
            try:
                with self._database.connection() as conn:
                    leases.count_ultravox_requests(conn, counts)
            except DatabaseError as error:
                log.warning("requests_not_counted", counts=dict(counts), cause=str(error))

    def _shut_down(self) -> None:
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        for thread in self._running:
            thread.join(max(0.0, deadline - time.monotonic()))
        # A page is stuck in the API, or the database is away. Should the page still come, the fence refuses it.
        stuck = [claim for thread, claim in self._running.items() if thread.is_alive()]
        releases = [threading.Thread(target=self._release, args=(claim,), daemon=True) for claim in stuck]
        for release in releases:
            release.start()
        deadline = time.monotonic() + RELEASE_SECONDS
        for release in releases:
            release.join(max(0.0, deadline - time.monotonic()))

    def _release(self, claim: Claim) -> None:
        result = self._end(claim, Stopped())
        self._results[result.job_id] = result
