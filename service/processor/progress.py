"""How far the jobs are, for whoever watches the command: bars on a terminal, log lines elsewhere."""

import sys
import threading
import time
from typing import Any, Protocol
from uuid import UUID

import structlog
from tqdm import tqdm

from service.jobs.leases import Claim, Stored

LOG_SECONDS = 5.0

log = structlog.get_logger(__name__)


class Progress(Protocol):
    """Shows how far the jobs are. Its methods are called from the threads of all jobs."""

    def advance(self, claim: Claim, stored: Stored) -> None: ...

    def finish(self, claim: Claim) -> None: ...

    def close(self) -> None: ...


def choose_progress() -> Progress:
    return Bars() if sys.stderr.isatty() else LogLines()


class Bars(Progress):
    """A progress bar per job, on a terminal."""

    def __init__(self) -> None:
        self._bars: dict[UUID, tqdm[Any]] = {}
        self._lock = threading.Lock()

    def advance(self, claim: Claim, stored: Stored) -> None:
        with self._lock:
            if claim.job_id not in self._bars:
                self._bars[claim.job_id] = tqdm(desc=f"job {str(claim.job_id)[:8]}", unit=" calls")
            bar = self._bars[claim.job_id]
            bar.total = stored.total_calls
            bar.update(max(0, stored.processed_calls - bar.n))

    def finish(self, claim: Claim) -> None:
        with self._lock:
            if bar := self._bars.pop(claim.job_id, None):
                bar.close()

    def close(self) -> None:
        for bar in self._bars.values():
            bar.close()


class LogLines(Progress):
    """A log line per job every few seconds, elsewhere."""

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

    def close(self) -> None:
        pass
