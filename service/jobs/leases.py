"""What a processor does to a job under its lease, one typed function per transition.

Each names the fencing token of the claim; where the lease is over the database refuses (`LeaseLostError`).
"""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row

from service.database import Conn
from service.jobs.job import JOB_COLUMNS, Job


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
    consecutive_failures: int


@dataclass(frozen=True)
class Window:
    """A part of a job's range, `[starts_at, ends_at)`; its checkpoint is the query of its next page.

    `planned_calls` is how many calls Ultravox counts in it, None where it was not planned. A recheck pages a day once
    more on which calls are missing.
    """

    id: int
    starts_at: datetime | None
    ends_at: datetime
    cursor: str | None
    planned_calls: int | None = None
    is_recheck: bool = False


@dataclass(frozen=True)
class SourceCounts:
    """How many calls Ultravox counts by day: in UTC, or in a time zone that it does not tell."""

    days: dict[date, int]
    in_utc: bool


@dataclass(frozen=True)
class Stored:
    """What became of a page, and how far its job is. A call that was counted before is in none of the counts."""

    imported: int
    skipped: int
    failed_call_ids: list[str]
    processed_calls: int
    total_calls: int | None

    @property
    def brought_calls(self) -> bool:
        """Tell whether there was a call in it that the job had not been given before."""
        return bool(self.imported or self.skipped or self.failed_call_ids)


WINDOW_COLUMNS = "id, starts_at, ends_at, cursor, planned_calls, is_recheck"


def claim(conn: Conn, lease: timedelta) -> Claim | None:
    """Take the job that has been due the longest; `consecutive_failures` includes a lease that ran out."""
    with conn.cursor(row_factory=class_row(Claim)) as cursor:
        return cursor.execute("select * from historical_sync.claim_due_job(%s)", [lease]).fetchone()


def heartbeat(conn: Conn, claim: Claim, lease: timedelta) -> None:
    conn.execute("select historical_sync.heartbeat(%s, %s, %s)", [claim.job_id, claim.fencing_token, lease])


def unfinished_windows(conn: Conn, claim: Claim) -> list[Window]:
    return _windows(conn, "unfinished_windows(%s)", [claim.job_id])


def plan(
    conn: Conn, claim: Claim, window_id: int, *, seams: list[datetime], planned: list[int], counts: SourceCounts
) -> list[Window]:
    """Cut a job's only window at `seams`, oldest first, into windows of `planned` calls; return them, newest first."""
    return _windows(
        conn,
        "plan_job(%s, %s, %s, %s::timestamptz[], %s::integer[], %s::date[], %s::integer[], %s)",
        [claim.job_id, claim.fencing_token, window_id, seams, planned, *_arrays(counts)],
    )


def cut_window(conn: Conn, claim: Claim, window_id: int, *, to_the_second: bool) -> list[Window]:
    """Cut a window into two that start afresh, and return both; nothing where it cannot be cut.

    The seam is a whole minute or coarser, or else, `to_the_second`, a whole second.
    """
    arguments = [claim.job_id, claim.fencing_token, window_id, to_the_second]
    return _windows(conn, "cut_window(%s, %s, %s, %s)", arguments)


def compare_with_source(conn: Conn, claim: Claim, counts: SourceCounts | None, *, lease: timedelta) -> list[Window]:
    """Compare what has arrived with Ultravox' counts, None where there are none.

    Returns a window for each day that is to be paged once more. All others have to be finished.
    """
    return _windows(
        conn,
        "compare_with_source(%s, %s, %s::date[], %s::integer[], %s, %s)",
        [claim.job_id, claim.fencing_token, *_arrays(counts), lease],
    )


def restart_window(conn: Conn, claim: Claim, window_id: int) -> None:
    """Forget a window's cursor; it starts afresh."""
    conn.execute("select historical_sync.restart_window(%s, %s, %s)", [claim.job_id, claim.fencing_token, window_id])


def commit_page(
    conn: Conn,
    claim: Claim,
    window_id: int,
    *,
    calls: list[str],
    singly: bool,
    age: timedelta,
    next_query: str | None,
    total: int | None,
    lease: timedelta,
) -> Stored | None:
    """Store the calls of a page, the checkpoint, the counters and a heartbeat: one transaction, one round trip.

    `age` is the time since the API was asked: the clock is the database's. Where Postgres refuses one of the calls, it
    stores the others and counts that one as failed if it is to store them `singly`, and else nothing: that is None.
    """
    with conn.cursor(row_factory=class_row(Stored)) as cursor:
        return cursor.execute(
            "select * from historical_sync.commit_page(%s, %s, %s, %s, %b::text[], %s, %s, %s, %s)",
            [claim.job_id, claim.fencing_token, window_id, age, calls, singly, next_query, total, lease],
        ).fetchone()


def forget_listed_calls(conn: Conn, claim: Claim, *, limit: int) -> bool:
    """Forget up to `limit` calls that completed jobs of the agency have counted; tell whether there may be more."""
    [row] = conn.execute("select historical_sync.forget_listed_calls(%s, %s) as more", [claim.job_id, limit])
    return bool(row["more"])


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


def _arrays(counts: SourceCounts | None) -> list[object]:
    return [None, None, None] if counts is None else [list(counts.days), list(counts.days.values()), counts.in_utc]


def _windows(conn: Conn, call: str, arguments: list[object]) -> list[Window]:
    with conn.cursor(row_factory=class_row(Window)) as cursor:
        return cursor.execute(f"select {WINDOW_COLUMNS} from historical_sync.{call}", arguments).fetchall()  # noqa: S608


def _finish(conn: Conn, call: str, arguments: list[object]) -> Job:
    with conn.cursor(row_factory=class_row(Job)) as cursor:
        [job] = cursor.execute(f"select {JOB_COLUMNS} from historical_sync.{call}", arguments).fetchall()  # noqa: S608
        return job
