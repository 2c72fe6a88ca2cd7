"""A job from its claim to the end of its lease: imported, given back for now, or failed for good."""

import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from pydantic import SecretStr

from service.database import Conn, Database
from service.errors import DatabaseError, LeaseLostError
from service.jobs import leases
from service.jobs.job import Job
from service.jobs.leases import Claim
from service.processor.credentials import Credentials, UnreadableKeyError
from service.processor.errors import JobFailedError, RetryableError, StopRequested
from service.processor.job_importer import JobImporter
from service.processor.progress import Progress
from service.processor.rate_limiter import RateLimiter
from service.processor.ultravox import UltravoxClient
from service.settings import Settings

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class JobResult:
    """What became of a job in this pass, as the original function reported it."""

    job_id: str
    status: str
    imported: int = 0
    skipped: int = 0
    failed: int = 0
    reason: str | None = None
    error: str | None = None

    @classmethod
    def of(cls, job: Job) -> "JobResult":
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


class JobRunner:
    """Runs claimed jobs. Thread-safe: the jobs of a processor run side by side."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        client: UltravoxClient,
        *,
        stopping: threading.Event,
    ) -> None:
        self._settings = settings
        self._database = database
        self._client = client
        self._progress = Progress()
        self._stopping = stopping
        self._credentials = Credentials(settings.credentials_key)
        self._limiters: dict[str, RateLimiter] = {}

    def run(self, claim: Claim) -> JobResult:
        """Import a job, and end its lease however that went; raises nothing."""
        log.info("job_claimed", job_id=str(claim.job_id), agency_id=str(claim.agency_id))
        try:
            result = JobResult.of(self._import(claim))
        except Exception as error:  # whatever it was, the lease must not just run out
            result = self.end_lease(claim, error)
        log.info("job_left", **result.as_json())
        self._progress.finish(claim)
        return result

    def end_lease(self, claim: Claim, error: Exception) -> JobResult:
        """End the lease as `error` asks for."""
        try:
            with self._database.connection() as conn:
                return JobResult.of(self._leave(conn, claim, error))
        except LeaseLostError as lost:
            return JobResult(str(claim.job_id), lost.job_status, lost.imported, lost.skipped, lost.failed)
        except DatabaseError as away:
            # The lease runs out by itself, and the job is claimed again.
            log.warning("lease_left_to_run_out", job_id=str(claim.job_id), cause=str(away))
            return JobResult(job_id=str(claim.job_id), status="in_progress")

    def _import(self, claim: Claim) -> Job:
        self._require_retry_budget(claim)
        api_key = self._api_key(claim)
        return JobImporter(
            database=self._database,
            client=self._client,
            claim=claim,
            api_key=api_key,
            limiter=self._limiter(api_key),
            lease=timedelta(seconds=self._settings.lease_seconds),
            threads=self._settings.processor_windows,
            stopping=self._stopping,
            on_stored=self._progress.advance,
        ).run()

    def _require_retry_budget(self, claim: Claim) -> None:
        # The claim has counted a processor that died; nobody else could have failed the job.
        if claim.consecutive_failures >= self._settings.processor_max_failures:
            raise JobFailedError(
                f"The processor, which imports the calls, broke off {claim.consecutive_failures} times in a row without"
                " storing any.",
                "Ask support to look into its log, then resume.",
            )

    def _api_key(self, claim: Claim) -> SecretStr:
        if claim.api_key_encrypted is not None:
            try:
                return self._credentials.decrypt(claim.api_key_encrypted)
            except UnreadableKeyError as error:
                log.warning("api_key_unreadable", agency_id=str(claim.agency_id), cause=str(error))
                raise JobFailedError(
                    "The agency's API key cannot be read.", "Ask support to set it again, then resume."
                ) from None
        if self._settings.ultravox_api_key is None:
            raise JobFailedError("Agency API key not configured.", "Ask support to set it, then resume.")
        return self._settings.ultravox_api_key

    def _limiter(self, api_key: SecretStr) -> RateLimiter:
        limiter = RateLimiter(self._settings.ultravox_requests_per_second)
        return self._limiters.setdefault(api_key.get_secret_value(), limiter)

    def _leave(self, conn: Conn, claim: Claim, error: Exception) -> Job:
        match error:
            case LeaseLostError():
                raise error
            case StopRequested():
                return leases.release(conn, claim)
            case JobFailedError():
                return leases.fail(conn, claim, str(error))
            case RetryableError():
                return self._reschedule(conn, claim, error.what, error.retry_after)
            case _:
                log.error("job_interrupted", job_id=str(claim.job_id), exc_info=error)
                return self._reschedule(conn, claim, "A fault of the service interrupted the import", None)

    def _reschedule(self, conn: Conn, claim: Claim, message: str, retry_after: float | None) -> Job:
        return leases.reschedule(
            conn,
            claim,
            message,
            retry_after=None if retry_after is None else timedelta(seconds=retry_after),
            max_failures=self._settings.processor_max_failures,
        )
