"""What operators do, whatever the agency, without being users of it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from service.database import Conn, Database
from service.errors import AgencyNotFoundError
from service.jobs.job import JOB_COLUMNS, Job, JobStatus
from service.jobs.pending import make_pending


@dataclass(frozen=True)
class Agency:
    """An agency with its active job, else the newest; `job_at` is when something was last heard of that."""

    id: UUID
    name: str | None
    has_key: bool
    job_status: JobStatus | None
    job_at: datetime | None


def list_agencies(conn: Conn) -> list[Agency]:
    with conn.cursor(row_factory=class_row(Agency)) as cursor:
        return cursor.execute("select * from historical_sync.list_agencies()").fetchall()


def start(database: Database, agency_id: UUID, date_from: datetime | None, date_to: datetime | None) -> UUID:
    """Create a pending job for `[date_from, date_to)` and return its id.

    Raises AgencyNotFoundError, SyncAlreadyActiveError, InvalidDateRangeError and DatabaseError.
    """

    def create() -> UUID | None:
        with database.connection() as conn:
            arguments = [agency_id, date_from, date_to]
            [row] = conn.execute("select historical_sync.start_job(%s, %s, %s) as id", arguments)
            return row["id"]  # type: ignore[no-any-return]  # a uuid

    def active() -> Job | None:
        with database.connection() as conn, conn.cursor(row_factory=class_row(Job)) as cursor:
            query = f"select {JOB_COLUMNS} from historical_sync.active_job(%s)"  # noqa: S608  # constant
            return cursor.execute(query, [agency_id]).fetchone()

    job_id = make_pending(create, active)
    if job_id is None:
        raise AgencyNotFoundError(f"there is no agency {agency_id}: list-agencies shows them")
    return job_id
