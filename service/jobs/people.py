"""The statements on historical_sync_jobs, one typed function each."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, LiteralString, TypeVar, cast
from uuid import UUID

import structlog
from psycopg.rows import DictRow

from service.database import Conn, Database
from service.errors import ErrorCode, ServiceError
from service.jobs.principal import Principal

# With the two statements that come then, still well below what a proxy waits.
AGAIN_WITHIN_SECONDS = 3.0

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """A job as callers see it; the columns of the view historical_sync.job."""

    id: UUID
    status: str
    date_from: datetime | None
    date_to: datetime
    total_calls: int | None
    processed_calls: int
    imported_calls: int
    skipped_calls: int
    failed_calls: int
    progress_percent: int | None
    eta: datetime | None
    requested_by: UUID | None
    created_at: datetime
    started_at: datetime | None
    last_activity_at: datetime | None
    completed_at: datetime | None
    attempt: int
    next_attempt_at: datetime | None
    error_message: str | None

    def public(self) -> dict[str, Any]:
        """Return the JSON object, times in UTC with `Z`."""
        return {name: _json(value) for name, value in asdict(self).items()}


JOB_FIELDS = tuple(field.name for field in fields(Job))
JOB_COLUMNS = ", ".join(JOB_FIELDS)


def start(conn: Conn, principal: Principal, date_from: datetime | None, date_to: datetime | None) -> UUID:
    """Create a job for the principal's agency and return its id, through public.create_historical_sync_job()."""
    [row] = _ask(
        conn,
        principal,
        """
        select
            caller.revocation,
            caller.agency_id as caller_agency_id,
            case when caller.agency_id is not null then
                historical_sync.create_job(
                    p_agency_id => caller.agency_id,
                    p_requested_by => %(user_id)s,
                    p_date_from => %(date_from)s::timestamptz,
                    p_date_to => %(date_to)s::timestamptz
                )
            end as job_id
        from historical_sync.caller(%(user_id)s, %(session_id)s) as caller
        """,
        date_from=date_from,
        date_to=date_to,
    )
    return cast(UUID, row["job_id"])


def naming_the_active_job(
    database: Database, principal: Principal, change: Callable[[Conn], T], *, again: bool = True
) -> T:
    """Run a change that makes a job pending; where an active job is in the way, the 409 names it.

    A second statement asks for that job. If there is none nothing is in the way any more, and the change is tried once
    more, or left to the caller (503) where the first two statements were slow. Where it fails again, it was another
    unique index than that of the active jobs (500).
    """
    started = time.monotonic()
    try:
        with database.connection() as conn:
            return change(conn)
    except ServiceError as conflict:
        if conflict.code is not ErrorCode.SYNC_ALREADY_ACTIVE:
            raise
        with database.connection() as conn:
            job = active(conn, principal)
        if job is not None:
            conflict.details["job"] = job.public()
            raise
        if not again:
            raise ServiceError(ErrorCode.INTERNAL_ERROR, reason=conflict.reason) from conflict
        if time.monotonic() - started >= AGAIN_WITHIN_SECONDS:
            raise ServiceError(ErrorCode.DATABASE_BUSY, reason=conflict.reason, retry_after=1) from conflict
        return naming_the_active_job(database, principal, change, again=False)


def active(conn: Conn, principal: Principal) -> Job | None:
    """Return the pending or in-progress job of the principal's agency."""
    rows = _ask(
        conn,
        principal,
        """
        select caller.revocation, caller.agency_id as caller_agency_id, job.*
        from historical_sync.caller(%(user_id)s, %(session_id)s) as caller
        left join lateral historical_sync.active_job(caller.agency_id) as job on true
        """,
    )
    return _job(rows[0])


def latest(conn: Conn, principal: Principal) -> Job | None:
    """Return the active job of the principal's agency, else the newest."""
    rows = _ask(
        conn,
        principal,
        """
        select caller.revocation, caller.agency_id as caller_agency_id, job.*
        from historical_sync.caller(%(user_id)s, %(session_id)s) as caller
        left join lateral historical_sync.latest_job(caller.agency_id) as job on true
        """,
    )
    return _job(rows[0])


def find(conn: Conn, principal: Principal, job_id: UUID) -> Job:
    """Return a job of the principal's agency."""
    [row] = _ask(
        conn,
        principal,
        """
        select caller.revocation, caller.agency_id as caller_agency_id, job.*
        from historical_sync.caller(%(user_id)s, %(session_id)s) as caller
        left join lateral historical_sync.find_job(%(job_id)s) as job on true
        """,
        job_id=job_id,
    )
    _check_owner(row)
    return Job(**{name: row[name] for name in JOB_FIELDS})


def page(conn: Conn, principal: Principal, before: UUID | None, limit: int) -> list[Job]:
    """Return up to `limit` jobs of the principal's agency, newest first, older than the job `before`."""
    rows = _ask(
        conn,
        principal,
        """
        select caller.revocation, caller.agency_id as caller_agency_id, job.*
        from historical_sync.caller(%(user_id)s, %(session_id)s) as caller
        left join lateral historical_sync.list_jobs(caller.agency_id, %(before)s, %(limit)s) as job on true
        order by job.created_at desc, job.id desc
        """,
        before=before,
        limit=limit,
    )
    return [job for row in rows if (job := _job(row))]


def cancel(conn: Conn, principal: Principal, job_id: UUID) -> None:
    """Cancel a pending or running job; nothing is written to it after."""
    [row] = _ask(
        conn,
        principal,
        """
        select caller.revocation, caller.agency_id as caller_agency_id, job.*
        from historical_sync.caller(%(user_id)s, %(session_id)s) as caller
        left join lateral historical_sync.cancel_job(caller.agency_id, %(job_id)s) as job on true
        """,
        job_id=job_id,
    )
    _check_owner(row)
    if not row["changed"]:
        raise ServiceError(ErrorCode.JOB_NOT_CANCELLABLE, current_status=row["status"])


def resume(conn: Conn, principal: Principal, job_id: UUID) -> None:
    """Make a failed or cancelled job pending again; it goes on from its checkpoint."""
    [row] = _ask(
        conn,
        principal,
        """
        select caller.revocation, caller.agency_id as caller_agency_id, job.*
        from historical_sync.caller(%(user_id)s, %(session_id)s) as caller
        left join lateral historical_sync.resume_job(caller.agency_id, %(job_id)s) as job on true
        """,
        job_id=job_id,
    )
    _check_owner(row)
    if not row["changed"]:
        raise ServiceError(ErrorCode.JOB_NOT_RESUMABLE, current_status=row["status"])


def _ask(conn: Conn, principal: Principal, statement: LiteralString, **parameters: Any) -> list[DictRow]:
    """Run a statement about a caller's jobs.

    Raises ServiceError: 401 for a revoked session, 403 without an agency; the driver's errors pass through.
    """
    names = {"user_id": principal.user_id, "session_id": principal.session_id, **parameters}
    rows = conn.execute(statement, names).fetchall()
    if rows[0]["revocation"]:
        raise ServiceError(ErrorCode.SESSION_REVOKED, reason=rows[0]["revocation"])
    if rows[0]["caller_agency_id"] is None:
        raise ServiceError(ErrorCode.NO_AGENCY)
    structlog.contextvars.bind_contextvars(agency_id=str(rows[0]["caller_agency_id"]))
    return rows


def _check_owner(row: DictRow) -> None:
    if row["agency_id"] is None:
        raise ServiceError(ErrorCode.JOB_NOT_FOUND)
    if row["agency_id"] != row["caller_agency_id"]:
        raise ServiceError(ErrorCode.JOB_NOT_YOURS)


def _job(row: DictRow) -> Job | None:
    return Job(**{name: row[name] for name in JOB_FIELDS}) if row["id"] else None


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, UUID) else value
