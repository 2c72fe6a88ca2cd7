"""A job as callers see it: its fields, their order and types. The values are the view historical_sync.job's."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

# Those in which a job is in the way of another one of its agency; the view historical_sync.active_jobs says the same.
ACTIVE_STATUSES = ("pending", "in_progress")

JobStatus = Literal["pending", "in_progress", "completed", "failed", "cancelled"]
Verification = Literal["verified", "gaps", "unverified"]
Count = Annotated[int, Field(ge=0)]


# The columns of the view historical_sync.job. The annotations are for the schema: what comes from there is not checked,
# so the view must cast: a numeric would be sent as a string.
@dataclass(frozen=True)
class Job:
    """An import of a range of calls, as everybody of its agency sees it."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    id: UUID
    status: JobStatus
    date_from: Annotated[datetime | None, Field(description="The first instant to import; null: no lower bound.")]
    date_to: Annotated[datetime, Field(description="The first instant not to import.")]
    total_calls: Annotated[Count | None, Field(description="How many there will be, as far as Ultravox tells.")]
    processed_calls: Annotated[Count, Field(description="Imported, skipped and failed ones.")]
    imported_calls: Annotated[Count, Field(description="Inserted or changed.")]
    skipped_calls: Annotated[Count, Field(description="There already, the same.")]
    failed_calls: Annotated[Count, Field(description="Could not be stored.")]
    progress_percent: Annotated[
        Annotated[int, Field(ge=0, le=100)] | None, Field(description="Rounded; null while the total is unknown.")
    ]
    eta: Annotated[datetime | None, Field(description="Estimated end; null where nothing tells.")]
    requested_by: Annotated[UUID | None, Field(description="The user who started it.")]
    created_at: datetime
    started_at: Annotated[datetime | None, Field(description="When a processor first took it.")]
    last_activity_at: Annotated[datetime | None, Field(description="When a processor was last heard of.")]
    completed_at: Annotated[datetime | None, Field(description="When it was completed, failed or cancelled.")]
    attempt: Annotated[Count, Field(description="How often a processor has taken it.")]
    next_attempt_at: Annotated[datetime | None, Field(description="When a retry is due.")]
    error_message: Annotated[
        str | None, Field(description="What went wrong; of a failed job, also what the agency can do.")
    ]
    verification: Annotated[
        Verification | None,
        Field(
            description="Null until it is completed: whether on each day as many calls are there as Ultravox counts"
            " (`verified`), or fewer (`gaps`); `unverified` where it gave no count."
        ),
    ]
    missing_calls: Annotated[
        Annotated[int, Field(gt=0)] | None, Field(description="With `gaps`: how many calls Ultravox counts more.")
    ]

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE_STATUSES


@dataclass(frozen=True)
class Failure:
    """A call that could not be stored."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    call_id: str
    reason: Annotated[str, Field(description="In plain words.")]


@dataclass(frozen=True)
class JobWithFailures(Job):
    """A job that was asked for by its id."""

    failures: Annotated[list[Failure], Field(max_length=100, description="The first hundred calls not stored.")]


JOB_FIELDS = tuple(field.name for field in fields(Job))
JOB_COLUMNS = ", ".join(JOB_FIELDS)
