"""What a processor does to a job under its lease, one typed function per transition.

Each names the fencing token of the claim; where the lease is over the database refuses (`LeaseLostError`).
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from service.db import Conn
from service.jobs import JOB_COLUMNS, Job


@dataclass(frozen=True)
class Claim:
    """A job, leased. `fencing_token` tells this lease from every other one of the job."""

    job_id: UUID
    agency_id: UUID
    fencing_token: int
    page_size: int
    api_key_encrypted: bytes | None = field(repr=False)
    date_from: datetime | None
    date_to: datetime


@dataclass(frozen=True)
class Window:
    """A part of a job's range, `[starts_at, ends_at)`, and its checkpoint."""

    id: int
    starts_at: datetime | None
    ends_at: datetime
    cursor: str | None
    position: datetime | None


@dataclass(frozen=True)
class Stored:
    """What became of a page. `reached` is the oldest instant of its window so far."""

    finished: bool
    splittable: bool
    reached: datetime | None
    imported: int
    skipped: int
    failed_call_ids: list[str]
    processed_calls: int
    total_calls: int | None


WINDOW_COLUMNS = "id, starts_at, ends_at, cursor, position"


def claim(conn: Conn, lease: timedelta) -> Claim | None:
    """Take the job that has been due the longest."""
    with conn.cursor(row_factory=class_row(Claim)) as cursor:
        return cursor.execute("select * from historical_sync.claim_job(%s)", [lease]).fetchone()


def heartbeat(conn: Conn, claim: Claim, lease: timedelta) -> None:
    conn.execute("select historical_sync.heartbeat(%s, %s, %s)", [claim.job_id, claim.fencing_token, lease])


def unfinished_windows(conn: Conn, claim: Claim) -> list[Window]:
    with conn.cursor(row_factory=class_row(Window)) as cursor:
        query = f"select {WINDOW_COLUMNS} from historical_sync.unfinished_windows(%s)"  # noqa: S608  # a constant
        return cursor.execute(query, [claim.job_id]).fetchall()


def split_window(conn: Conn, claim: Claim, window_id: int) -> Window | None:
    """Cut off the older half of what a window has left."""
    with conn.cursor(row_factory=class_row(Window)) as cursor:
        query = f"select {WINDOW_COLUMNS} from historical_sync.split_window(%s, %s, %s)"  # noqa: S608  # a constant
        return cursor.execute(query, [claim.job_id, claim.fencing_token, window_id]).fetchone()


def rewind_window(conn: Conn, claim: Claim, window_id: int) -> Window:
    """Forget a window's cursor; it goes on from the last call committed."""
    with conn.cursor(row_factory=class_row(Window)) as cursor:
        query = f"select {WINDOW_COLUMNS} from historical_sync.rewind_window(%s, %s, %s)"  # noqa: S608  # a constant
        [window] = cursor.execute(query, [claim.job_id, claim.fencing_token, window_id]).fetchall()
        return window


def store_page(
    conn: Conn,
    claim: Claim,
    window_id: int,
    *,
    fetched_at: datetime,
    body: str,
    next_query: str | None,
    total: int | None,
    lease: timedelta,
) -> Stored:
    """Store the calls of a page, the checkpoint, the counters and a heartbeat: one transaction, one round trip."""
    with conn.cursor(row_factory=class_row(Stored)) as cursor:
        [stored] = cursor.execute(
            "select * from historical_sync.store_page(%s, %s, %s, %s, %s::jsonb, %s, %s, %s)",
            [claim.job_id, claim.fencing_token, window_id, fetched_at, body, next_query, total, lease],
        ).fetchall()
        return stored


def complete(conn: Conn, claim: Claim) -> Job:
    return _finish(conn, "complete_job(%s, %s)", [claim.job_id, claim.fencing_token])


def fail(conn: Conn, claim: Claim, error: str) -> Job:
    return _finish(conn, "fail_job(%s, %s, %s)", [claim.job_id, claim.fencing_token, error])


def reschedule(conn: Conn, claim: Claim, error: str, *, retry_after: timedelta | None, max_failures: int) -> Job:
    """Give the job back to be tried again later, or fail it if its retry budget is used up."""
    return _finish(
        conn,
        "reschedule_job(%s, %s, %s, %s, %s)",
        [claim.job_id, claim.fencing_token, error, retry_after, max_failures],
    )


def release(conn: Conn, claim: Claim) -> Job:
    """Give the job back for the next processor to go on at once."""
    return _finish(conn, "release_job(%s, %s)", [claim.job_id, claim.fencing_token])


def set_ultravox_key(conn: Conn, agency_id: UUID, key_encrypted: bytes) -> bool:
    """Store an agency's encrypted API key; False where there is no such agency."""
    [row] = conn.execute("select historical_sync.set_ultravox_key(%s, %s) as found", [agency_id, key_encrypted])
    return bool(row["found"])


def count_ultravox_requests(conn: Conn, counts: dict[int, int]) -> None:
    """Add requests by status to what all processors have counted."""
    conn.execute("select historical_sync.count_ultravox_requests(%s)", [Jsonb(counts)])


def _finish(conn: Conn, call: str, arguments: list[object]) -> Job:
    with conn.cursor(row_factory=class_row(Job)) as cursor:
        [job] = cursor.execute(f"select {JOB_COLUMNS} from historical_sync.{call}", arguments).fetchall()  # noqa: S608
        return job
