"""What people do to the jobs of their agency, and what they see of them: one function and one statement each.

Every function raises SessionRevokedError and NoAgencyError about the user, and DatabaseError about the database.
"""

from datetime import date, datetime
from typing import Any, LiteralString, cast
from uuid import UUID

import structlog
from psycopg.rows import DictRow

from service.database import Database
from service.errors import (
    JobNotCancellableError,
    JobNotFoundError,
    JobNotResumableError,
    JobNotYoursError,
    NoAgencyError,
    SessionRevokedError,
)
from service.jobs.coverage import Coverage, DayRow, coverage_of
from service.jobs.job import JOB_FIELDS, Job, JobWithFailures
from service.jobs.pending import make_pending
from service.jobs.principal import Principal

# What of `wanted` is the job as callers see it. Named one by one: a statement that is prepared must go on returning
# the same columns while a migration adds one to the view.
JOB = ", ".join(f"wanted.{name}" for name in JOB_FIELDS)


def for_caller(columns: LiteralString, wanted: LiteralString) -> LiteralString:
    """Return a statement that tells who asks and does what the user wants, in one round trip."""
    return f"""
        select caller.revocation, caller.agency_id as caller_agency_id, {columns}
        from historical_sync.caller(%(user_id)s, %(session_id)s) as caller
        left join lateral {wanted}
    """  # noqa: S608  # constants of this module


# Without an agency nothing is created: the condition is looked at before the function is called.
CREATE_JOB = for_caller(
    "wanted.id",
    """
    (
        select historical_sync.create_job(
            p_agency_id => caller.agency_id,
            p_requested_by => %(user_id)s,
            p_date_from => %(date_from)s::timestamptz,
            p_date_to => %(date_to)s::timestamptz
        ) as id
        where caller.agency_id is not null
    ) as wanted on true
    """,
)
CHANGED = "wanted.agency_id, wanted.status, wanted.changed"
RESUME_JOB = for_caller(CHANGED, "historical_sync.resume_job(caller.agency_id, %(job_id)s) as wanted on true")
CANCEL_JOB = for_caller(CHANGED, "historical_sync.cancel_job(caller.agency_id, %(job_id)s) as wanted on true")
ACTIVE_JOB = for_caller(JOB, "historical_sync.active_job(caller.agency_id) as wanted on true")
LATEST_JOB = for_caller(JOB, "historical_sync.latest_job(caller.agency_id) as wanted on true")
FIND_JOB = for_caller(
    "wanted.agency_id, historical_sync.job_failures(wanted.id) as failures, " + JOB,
    "historical_sync.find_job(%(job_id)s) as wanted on true",
)
LIST_JOBS = for_caller(
    JOB,
    """
    historical_sync.list_jobs(caller.agency_id, %(before)s, %(limit)s) as wanted on true
    order by wanted.created_at desc, wanted.id desc
    """,
)
COVERAGE = for_caller(
    "wanted.day, wanted.stored, wanted.source, wanted.state, wanted.checked_at",
    """
    historical_sync.coverage(caller.agency_id, %(first_day)s::date, %(last_day)s::date) as wanted on true
    order by wanted.day
    """,
)


def start(database: Database, principal: Principal, date_from: datetime | None, date_to: datetime | None) -> UUID:
    """Create a pending job for `[date_from, date_to)` and return its id.

    Raises SyncAlreadyActiveError and InvalidDateRangeError.
    """
    row = _make_pending(database, principal, CREATE_JOB, date_from=date_from, date_to=date_to)
    return cast(UUID, row["id"])


def resume(database: Database, principal: Principal, job_id: UUID) -> None:
    """Make a failed or cancelled job pending again; it goes on from its checkpoint.

    Raises SyncAlreadyActiveError, JobNotFoundError, JobNotYoursError and JobNotResumableError.
    """
    row = _make_pending(database, principal, RESUME_JOB, job_id=job_id)
    _check_owner(row)
    if not row["changed"]:
        raise JobNotResumableError(row["status"])


def cancel(database: Database, principal: Principal, job_id: UUID) -> None:
    """Cancel a pending or running job; nothing is written to it after.

    Raises JobNotFoundError, JobNotYoursError and JobNotCancellableError.
    """
    [row] = _ask(database, principal, CANCEL_JOB, job_id=job_id)
    _check_owner(row)
    if not row["changed"]:
        raise JobNotCancellableError(row["status"])


def active(database: Database, principal: Principal) -> Job | None:
    """Return the pending or in-progress job of the user's agency."""
    [row] = _ask(database, principal, ACTIVE_JOB)
    return _job(row)


def latest(database: Database, principal: Principal) -> Job | None:
    """Return the active job of the user's agency, else the newest."""
    [row] = _ask(database, principal, LATEST_JOB)
    return _job(row)


def find(database: Database, principal: Principal, job_id: UUID) -> JobWithFailures:
    """Return a job of the user's agency. Raises JobNotFoundError and JobNotYoursError."""
    [row] = _ask(database, principal, FIND_JOB, job_id=job_id)
    _check_owner(row)
    return JobWithFailures(failures=row["failures"], **_fields(row))


def list_jobs(database: Database, principal: Principal, before: UUID | None, limit: int) -> list[Job]:
    """Return up to `limit` jobs of the user's agency, newest first, older than the job `before`."""
    rows = _ask(database, principal, LIST_JOBS, before=before, limit=limit)
    return [job for row in rows if (job := _job(row))]


def coverage(database: Database, principal: Principal, first_day: date | None, last_day: date | None) -> Coverage:
    """Return what has arrived of the calls of the user's agency, from the first to the last day, in UTC.

    Without these: from the first day with a call, though no more than 1,100 days, to today.
    """
    rows = _ask(database, principal, COVERAGE, first_day=first_day, last_day=last_day)
    return coverage_of([DayRow(**{name: row[name] for name in DayRow._fields}) for row in rows])


def _make_pending(database: Database, principal: Principal, statement: LiteralString, **parameters: Any) -> DictRow:
    """Run a statement that makes a job of the user's agency pending. Raises as make_pending() does."""

    def attempt() -> DictRow:
        [row] = _ask(database, principal, statement, **parameters)
        return row

    return make_pending(attempt, lambda: active(database, principal))


def _ask(database: Database, principal: Principal, statement: LiteralString, **parameters: Any) -> list[DictRow]:
    """Run a statement for a user, and return its rows: one at least."""
    names = {"user_id": principal.user_id, "session_id": principal.session_id, **parameters}
    with database.connection() as conn:
        rows = conn.execute(statement, names).fetchall()
    if rows[0]["revocation"]:
        raise SessionRevokedError(rows[0]["revocation"])
    if rows[0]["caller_agency_id"] is None:
        raise NoAgencyError(f"user {principal.user_id} has none")
    structlog.contextvars.bind_contextvars(agency_id=str(rows[0]["caller_agency_id"]))
    return rows


def _check_owner(row: DictRow) -> None:
    if row["agency_id"] is None:
        raise JobNotFoundError
    if row["agency_id"] != row["caller_agency_id"]:
        raise JobNotYoursError


def _job(row: DictRow) -> Job | None:
    return Job(**_fields(row)) if row["id"] else None


def _fields(row: DictRow) -> dict[str, Any]:
    return {name: row[name] for name in JOB_FIELDS}
