"""What callers send and what they get: each query, body and answer, defined once. openapi.json is made from them.

A query and a body are checked by their class; an answer is not, for it comes from here.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from service.jobs.job import Job, JobWithFailures
from service.web.auth import CANONICAL_UUID

# `fromisoformat` takes any separator, and any digits that Unicode has; ISO 8601 does not.
ISO_8601 = re.compile(r"[\dW-]+([T ]\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?(Z|[+-][\d:]+)?)?", re.ASCII | re.IGNORECASE)
LARGEST_LIMIT = 100
MOST_DAYS = 1100


def _uuid(value: object) -> UUID:
    if value is None:
        raise PydanticCustomError("uuid", "is required")
    if not isinstance(value, str) or not CANONICAL_UUID.fullmatch(value):
        raise PydanticCustomError("uuid", "must be a UUID")
    return UUID(value)


def _instant(value: object) -> datetime:
    """Parse an ISO 8601 date or date-time; without a time it is midnight, without an offset it is UTC."""
    if isinstance(value, str) and ISO_8601.fullmatch(value):
        with suppress(ValueError, OverflowError):
            instant = datetime.fromisoformat(value.upper())
            return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    text = "must be an ISO 8601 date or time, such as 2026-01-31, in the years 0001 to 9999"
    raise PydanticCustomError("instant", text)


def _day(value: object) -> date:
    """Parse an ISO 8601 date, or the day in UTC of a date-time."""
    return _instant(value).date()


def _limit(text: str) -> int:
    if not re.fullmatch(r"\d{1,3}", text, re.ASCII) or not 1 <= int(text) <= LARGEST_LIMIT:
        raise PydanticCustomError("limit", "must be 1 to {largest}", {"largest": LARGEST_LIMIT})
    return int(text)


JobId = Annotated[UUID, PlainValidator(_uuid), WithJsonSchema({"type": "string", "format": "uuid"})]
Instant = Annotated[datetime, PlainValidator(_instant), WithJsonSchema({"type": "string"})]
Day = Annotated[date, PlainValidator(_day), WithJsonSchema({"type": "string"})]
Limit = Annotated[
    int, PlainValidator(_limit), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT})
]


class Sent(BaseModel):
    """What a caller sends. A field that is not known is refused by name: it may be a misspelt one."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoQuery(Sent):
    """No query parameter at all."""


class StatusQuery(Sent):
    job_id: JobId | None = Field(None, description="The job to show; without it the active job, else the newest.")


class ListQuery(Sent):
    limit: Limit = Field(20, description="How many jobs to answer at most.")
    before: JobId | None = Field(None, description="The `next` of the page before.")


class CoverageQuery(Sent):
    """A range of days in UTC. A time is cut off."""

    date_from: Day | None = Field(None, description="ISO 8601: the first day. Absent: the first one with a call.")
    date_to: Day | None = Field(None, description="ISO 8601: the last day, which belongs to it. Absent: today.")

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.date_from is not None:
            days = ((self.date_to or datetime.now(UTC).date()) - self.date_from).days + 1
            if days < 1:
                text = "must not be after date_to" if self.date_to else "must not be in the future"
                raise PydanticCustomError("range", text, {"field": "date_from"})
            if days > MOST_DAYS:
                text = "must be less than {most} days before date_to"
                raise PydanticCustomError("range", text, {"field": "date_from", "most": MOST_DAYS})
        return self


class DateRange(Sent):
    """The calls to import: `[date_from, date_to)`. A date is midnight UTC, and a time without an offset is UTC."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"date_from": "2026-01-01"}]})

    date_from: Instant | None = Field(None, description="ISO 8601: the first instant to import. Absent: no bound.")
    date_to: Instant | None = Field(None, description="ISO 8601: the first instant not to import. Absent: now.")

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        # The table's CHECK decides; this only puts the answer before the ones about the user and the agency.
        if self.date_from and self.date_from >= (self.date_to or datetime.now(UTC)):
            text = "must be before date_to" if self.date_to else "must be in the past"
            raise PydanticCustomError("range", text, {"field": "date_from"})
        return self


class JobReference(Sent):
    """A job of the caller's agency."""

    job_id: JobId


class Answer:
    """What a caller gets, with these fields and no other."""

    __pydantic_config__ = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True)


@dataclass(frozen=True)
class PendingJob(Answer):
    """A job that waits for a processor."""

    job_id: UUID
    status: Literal["pending"] = "pending"


@dataclass(frozen=True)
class CancelledJob(Answer):
    """A job to which nothing is written any more."""

    job_id: UUID
    status: Literal["cancelled"] = "cancelled"


@dataclass(frozen=True)
class ActiveJob(Answer):
    """The active job."""

    active: Literal[True]
    job: Job


@dataclass(frozen=True)
class FoundJob(Answer):
    """The job that was asked for by its id."""

    active: bool
    job: JobWithFailures


@dataclass(frozen=True)
class NoActiveJob(Answer):
    """No job is active; `recent_job` is the newest finished one, null where there is none."""

    active: Literal[False]
    recent_job: Job | None


@dataclass(frozen=True)
class JobList(Answer):
    """Jobs, newest first."""

    jobs: list[Job]
    next: Annotated[UUID | None, Field(description="Value for `before`, or null at the end.")]


@dataclass(frozen=True)
class Health(Answer):
    """It answers."""

    status: Literal["ok"] = "ok"


def faults(error: ValidationError) -> dict[str, str]:
    """Return what is wrong with which field."""
    return dict(map(_fault, error.errors(include_url=False, include_input=False)))


def _fault(fault: Mapping[str, Any]) -> tuple[str, str]:
    # A fault of several fields says which of them to name.
    field = fault["loc"][0] if fault["loc"] else fault["ctx"]["field"]
    return field, "is required" if fault["type"] == "missing" else fault["msg"]
