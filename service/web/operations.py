"""What the HTTP API can do: each operation with what it takes, what it answers and every error it can end in.

openapi.json and the tables of docs/api.md are made from this list; a test holds it to the routes of the app.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from service.jobs.coverage import Coverage
from service.web import schemas
from service.web.errors import ErrorCode as Code

PREFIX = "/functions/v1"

# nginx refuses by the head and the size of a request, and so whatever it asks for.
ALWAYS = (Code.BAD_REQUEST, Code.BODY_TOO_LARGE, Code.METHOD_NOT_ALLOWED, Code.INTERNAL_ERROR)
# What nginx answers where it passes a route on, and where it does not.
PASSED_ON = (Code.GATEWAY_UNAVAILABLE, Code.GATEWAY_TIMEOUT)
FOR_THE_INSIDE = (Code.NOT_FOUND,)
OF_DATABASE = (Code.DATABASE_UNAVAILABLE, Code.DATABASE_BUSY)
OF_TOKEN = (
    Code.TOKEN_MISSING,
    Code.TOKEN_INVALID,
    Code.TOKEN_EXPIRED,
    Code.SESSION_REVOKED,
    Code.NO_AGENCY,
    Code.AUTH_KEYS_UNAVAILABLE,
)
OF_FUNCTION = (*ALWAYS, *PASSED_ON, *OF_TOKEN, *OF_DATABASE, Code.INVALID_FIELDS)
OF_JOB = (Code.JOB_NOT_FOUND, Code.JOB_NOT_YOURS)


@dataclass(frozen=True)
class Operation:
    """One method of one path. `answer` is the class of the answer's body, or a media type."""

    path: str
    id: str
    summary: str
    answers: tuple[Any, ...]
    errors: tuple[Code, ...]
    method: Literal["get", "post"] = "get"
    query: type[BaseModel] = schemas.NoQuery
    body: type[BaseModel] | None = None
    has_etag: bool = False
    media_type: str = "application/json"

    @property
    def needs_token(self) -> bool:
        return self.path.startswith(PREFIX)


OPERATIONS = (
    Operation(
        f"{PREFIX}/start-historical-sync",
        "startHistoricalSync",
        "Create a job that imports the agency's past calls.",
        (schemas.PendingJob,),
        (*OF_FUNCTION, Code.INVALID_BODY, Code.SYNC_ALREADY_ACTIVE, Code.RATE_LIMITED),
        method="post",
        body=schemas.DateRange,
    ),
    Operation(
        f"{PREFIX}/get-sync-status",
        "getSyncStatus",
        "The active job, else the latest finished one; or the job asked for.",
        (schemas.ActiveJob, schemas.NoActiveJob, schemas.FoundJob),
        (*OF_FUNCTION, *OF_JOB),
        query=schemas.StatusQuery,
        has_etag=True,
    ),
    Operation(
        f"{PREFIX}/cancel-historical-sync",
        "cancelHistoricalSync",
        "Cancel a pending or running job, at once.",
        (schemas.CancelledJob,),
        (*OF_FUNCTION, Code.INVALID_BODY, *OF_JOB, Code.JOB_NOT_CANCELLABLE),
        method="post",
        body=schemas.JobReference,
    ),
    Operation(
        f"{PREFIX}/resume-historical-sync",
        "resumeHistoricalSync",
        "Make a failed or cancelled job pending again; it goes on from its checkpoint.",
        (schemas.PendingJob,),
        (*OF_FUNCTION, Code.INVALID_BODY, *OF_JOB, Code.JOB_NOT_RESUMABLE, Code.SYNC_ALREADY_ACTIVE),
        method="post",
        body=schemas.JobReference,
    ),
    Operation(
        f"{PREFIX}/list-sync-jobs",
        "listSyncJobs",
        "The agency's jobs, newest first.",
        (schemas.JobList,),
        OF_FUNCTION,
        query=schemas.ListQuery,
    ),
    Operation(
        f"{PREFIX}/get-sync-coverage",
        "getSyncCoverage",
        "What has arrived, day by day, beside what Ultravox counts.",
        (Coverage,),
        OF_FUNCTION,
        query=schemas.CoverageQuery,
        has_etag=True,
    ),
    Operation("/healthz", "healthz", "Whether the process answers.", (schemas.Health,), (*ALWAYS, *PASSED_ON)),
    Operation(
        "/readyz",
        "readyz",
        "Whether the database answers.",
        (schemas.Health,),
        (*ALWAYS, *FOR_THE_INSIDE, *OF_DATABASE),
    ),
    Operation(
        "/metrics",
        "metrics",
        "Metrics for Prometheus; not reachable through nginx.",
        (str,),
        (*ALWAYS, *FOR_THE_INSIDE),
        media_type="text/plain",
    ),
    Operation("/openapi.json", "openapi", "This document.", (dict[str, Any],), (*ALWAYS, *PASSED_ON)),
)
