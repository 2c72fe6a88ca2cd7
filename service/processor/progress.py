"""How far the jobs are, for whoever watches the command or its log.

Log lines on a terminal too: a bar would be broken by every other line, and `make run` shows several processes on one.
"""

import time
from uuid import UUID

import structlog

from service.jobs.leases import Claim, Stored

LOG_SECONDS = 5.0

log = structlog.get_logger(__name__)


class Progress:
    """A log line per job every few seconds. Its methods are called from the threads of all jobs."""

    def __init__(self) -> None:
        self._said_at: dict[UUID, float] = {}

    def advance(self, claim: Claim, stored: Stored) -> None:
        now = time.monotonic()
        if now - self._said_at.setdefault(claim.job_id, now) >= LOG_SECONDS:
            self._said_at[claim.job_id] = now
            job = {"job_id": str(claim.job_id), "processed": stored.processed_calls, "total": stored.total_calls}
            log.info("job_progress", **job)

    def finish(self, claim: Claim) -> None:
        self._said_at.pop(claim.job_id, None)
