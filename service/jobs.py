"""The statements on historical_sync_jobs, one typed function each."""

from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from service.auth import Principal
from service.db import Conn
from service.errors import ErrorCode, ServiceError


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


JOB_COLUMNS = ", ".join(field.name for field in fields(Job))


@dataclass(frozen=True)
class Started:
    """A created job and whose it is."""

    job_id: UUID
    agency_id: UUID


def start(conn: Conn, principal: Principal, date_from: datetime | None, date_to: datetime | None) -> Started:
    """Create a job for the principal's agency: the session, the user, the agency and the job in one statement.

    The claims are set where PostgREST sets them, for the column default of `requested_by` to read, so that a
    database that brings its own create_historical_sync_job() records who asked as well.

    Raises ServiceError: 401 for a revoked session, 403 without an agency; the driver's errors pass through.
    """
    [row] = conn.execute(
        """
        select
            revocation,
            users.agency_id,
            case when revocation is null and users.agency_id is not null then
                public.create_historical_sync_job(
                    p_agency_id => users.agency_id,
                    p_date_from => %(date_from)s::timestamptz,
                    p_date_to => coalesce(%(date_to)s::timestamptz, now())
                )
            end as job_id
        from historical_sync.token_revocation(%(user_id)s, %(session_id)s) as revocation
        cross join set_config('request.jwt.claims', %(claims)s::text, true) as claims
        left join public.users on users.id = %(user_id)s
        """,
        {
            "user_id": principal.user_id,
            "session_id": principal.session_id,
            "claims": f'{{"sub": "{principal.user_id}", "role": "authenticated"}}',
            "date_from": date_from,
            "date_to": date_to,
        },
    ).fetchall()
    if row["revocation"]:
        raise ServiceError(ErrorCode.SESSION_REVOKED, reason=row["revocation"])
    if row["agency_id"] is None:
        raise ServiceError(ErrorCode.NO_AGENCY)
    return Started(job_id=row["job_id"], agency_id=row["agency_id"])


def active(conn: Conn, principal: Principal) -> Job | None:
    """Return the pending or in-progress job of the principal's agency."""
    with conn.cursor(row_factory=class_row(Job)) as cursor:
        return cursor.execute(
            f"""
            select {JOB_COLUMNS}
            from historical_sync.active_job((select agency_id from public.users where id = %s))
            """,  # noqa: S608  # the columns are the fields of Job
            [principal.user_id],
        ).fetchone()


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, UUID) else value
