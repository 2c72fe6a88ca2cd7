"""Making a job pending where another one of its agency can be in the way."""

import time
from collections.abc import Callable
from typing import TypeVar

from service.errors import DatabaseBusyError, JobConflictError, SyncAlreadyActiveError
from service.jobs.job import Job

# How long two statements may have taken for a third and a fourth one to follow. A proxy waits longer than all four.
AGAIN_WITHIN_SECONDS = 3.0

T = TypeVar("T")


def make_pending(attempt: Callable[[], T], active: Callable[[], Job | None]) -> T:
    """Run a statement that makes a job pending, unless another job of the agency is active.

    A second statement asks which job is in the way. Where there is none any more, it has ended meanwhile, and the first
    one is tried once more. Raises SyncAlreadyActiveError; DatabaseBusyError where there is no time for that; and
    JobConflictError where it fails again without an active job, as with another unique index than that of the jobs.
    """
    started = time.monotonic()
    try:
        return attempt()
    except JobConflictError as conflict:
        _refuse_beside(active(), conflict)
        if time.monotonic() - started >= AGAIN_WITHIN_SECONDS:
            raise DatabaseBusyError(str(conflict), retry_after=1) from conflict
    try:
        return attempt()
    except JobConflictError as conflict:
        _refuse_beside(active(), conflict)
        raise


def _refuse_beside(job: Job | None, conflict: JobConflictError) -> None:
    """Raise SyncAlreadyActiveError if there is a job."""
    if job:
        raise SyncAlreadyActiveError(str(conflict), job) from conflict
