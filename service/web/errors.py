"""Every error that a caller can get: the closed table of codes, and which exception is answered with which of them.

A caller sees a code's word and text and the details it carries. What an exception says itself goes to the log.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from werkzeug.exceptions import HTTPException, MethodNotAllowed

from service.errors import (
    DatabaseBusyError,
    DatabaseUnavailableError,
    InvalidDateRangeError,
    JobNotCancellableError,
    JobNotFoundError,
    JobNotResumableError,
    JobNotYoursError,
    NoAgencyError,
    SessionRevokedError,
    SyncAlreadyActiveError,
)


class Row(NamedTuple):
    """A line of the table. `text` is the public sentence, `meaning` what the documentation says of it."""

    word: str
    status: int
    text: str
    meaning: str
    # What the body has beside `error` and `code`. From status 500 on there is always a `request_id` too.
    carries: tuple[str, ...] = ()
    # Seconds, of the header Retry-After; an exception that knows better says so.
    retry_after: int | None = None
    # The other statuses that it comes with.
    also: tuple[int, ...] = ()


class ErrorCode(Enum):
    """Each member's value is the stable word that programs match on."""

    status: int
    text: str
    meaning: str
    carries: tuple[str, ...]
    retry_after: int | None
    statuses: tuple[int, ...]

    def __new__(cls, *row: Any) -> "ErrorCode":
        line = Row(*row)
        member = object.__new__(cls)
        member._value_ = line.word
        member.status, member.text, member.meaning = line.status, line.text, line.meaning
        member.carries = (*line.carries, "request_id") if line.status >= 500 else line.carries
        member.retry_after, member.statuses = line.retry_after, (line.status, *line.also)
        return member

    INVALID_BODY = Row(
        "invalid_body",
        400,
        "The request body must be a JSON object.",
        "the body is not a JSON object",
        carries=("fields",),
    )
    INVALID_FIELDS = Row(
        "invalid_fields",
        400,
        "The request has invalid fields.",
        "`fields` says what is wrong with which field or query parameter",
        carries=("fields",),
    )
    BAD_REQUEST = Row(
        "bad_request",
        400,
        "The request is malformed.",
        "the request itself is malformed; its head or body took too long (408) or is too long (414, 431)",
        carries=("fields",),
        also=(408, 414, 431),
    )
    JOB_NOT_CANCELLABLE = Row(
        "job_not_cancellable",
        400,
        "Only a pending or running job can be cancelled.",
        "`current_status` says what the job is",
        carries=("current_status",),
    )
    JOB_NOT_RESUMABLE = Row(
        "job_not_resumable",
        400,
        "Only a failed or cancelled job can be resumed.",
        "`current_status` says what the job is",
        carries=("current_status",),
    )
    TOKEN_MISSING = Row(
        "token_missing",
        401,
        "An Authorization header with a Bearer token is required.",
        "there is no `Authorization: Bearer …`",
    )
    TOKEN_INVALID = Row(
        "token_invalid",
        401,
        "The access token is not accepted here. Sign in again.",
        "signature, issuer, audience, role or another claim is not acceptable",
    )
    TOKEN_EXPIRED = Row("token_expired", 401, "The access token has expired. Sign in again.", "refresh the session")
    SESSION_REVOKED = Row(
        "session_revoked",
        401,
        "The session is no longer valid. Sign in again.",
        "the user has signed out, or was banned or deleted",
    )
    NO_AGENCY = Row(
        "no_agency",
        403,
        "Your account does not belong to an agency. Ask whoever manages your agency to add you.",
        "the user has no row in `users`, or no agency there",
    )
    JOB_NOT_YOURS = Row(
        "job_not_yours", 403, "This job belongs to another agency.", "the job belongs to another agency"
    )
    NOT_FOUND = Row(
        "not_found",
        404,
        "There is nothing at this address.",
        "no route has this path, or nginx keeps it for the inside",
    )
    JOB_NOT_FOUND = Row("job_not_found", 404, "There is no such job.", "there is no such job")
    METHOD_NOT_ALLOWED = Row(
        "method_not_allowed",
        405,
        "This method is not allowed here.",
        "the sentence and the header `Allow` say which method to use",
    )
    SYNC_ALREADY_ACTIVE = Row(
        "sync_already_active",
        409,
        "A historical sync job already exists for this agency. Wait for it or cancel it.",
        "`job` is the active job, in the way of another one",
        carries=("job",),
    )
    BODY_TOO_LARGE = Row("body_too_large", 413, "The request body is too large.", "the body has more than 16 KiB")
    RATE_LIMITED = Row(
        "rate_limited",
        429,
        "Too many requests. Try again shortly.",
        "nginx: too many starts from one address",
        retry_after=1,
    )
    INTERNAL_ERROR = Row(
        "internal_error",
        500,
        "Something went wrong. Quote the request id to support.",
        "the log has the cause, under `request_id`",
    )
    GATEWAY_UNAVAILABLE = Row(
        "gateway_unavailable",
        502,
        "The service is unavailable at the moment. Try again shortly.",
        "nginx: the service is away",
        retry_after=2,
        also=(503,),
    )
    DATABASE_UNAVAILABLE = Row(
        "database_unavailable",
        503,
        "The database is unavailable at the moment. Try again shortly.",
        "no connection in time, or Postgres is away",
        retry_after=5,
    )
    DATABASE_BUSY = Row(
        "database_busy",
        503,
        "The database is busy with other work at the moment. Try again shortly.",
        "a lock that somebody else holds, or a statement past its timeout; nothing was done",
        retry_after=5,
    )
    AUTH_KEYS_UNAVAILABLE = Row(
        "auth_keys_unavailable",
        503,
        "Access tokens cannot be verified at the moment. Try again shortly.",
        "the project's signing keys have never been fetched",
        retry_after=30,
    )
    GATEWAY_TIMEOUT = Row(
        "gateway_timeout",
        504,
        "The service took too long to answer. Try again shortly.",
        "nginx: the service is silent",
        retry_after=5,
    )


# `bad_request` comes with these statuses and texts too, for what is more of a request than is read.
TOO_LARGE_TEXTS = {
    414: "The address of the request is too long.",
    431: "The headers of the request are too large.",
}

# What cannot be foreseen is an internal_error.
CODES: dict[type[Exception], ErrorCode] = {
    SessionRevokedError: ErrorCode.SESSION_REVOKED,
    NoAgencyError: ErrorCode.NO_AGENCY,
    JobNotFoundError: ErrorCode.JOB_NOT_FOUND,
    JobNotYoursError: ErrorCode.JOB_NOT_YOURS,
    JobNotCancellableError: ErrorCode.JOB_NOT_CANCELLABLE,
    JobNotResumableError: ErrorCode.JOB_NOT_RESUMABLE,
    SyncAlreadyActiveError: ErrorCode.SYNC_ALREADY_ACTIVE,
    DatabaseUnavailableError: ErrorCode.DATABASE_UNAVAILABLE,
    DatabaseBusyError: ErrorCode.DATABASE_BUSY,
}


class ApiError(Exception):
    """An answer other than success, in the terms of the web.

    `details` join the public body beside `error` and `code`; `reason` is for operators and goes to the log only.
    `retry_after` is in seconds. `status` and `text` take the place of the code's own where they can say more.
    """

    def __init__(
        self,
        code: ErrorCode,
        *,
        reason: str | None = None,
        retry_after: int | None = None,
        status: int | None = None,
        text: str | None = None,
        **details: Any,
    ) -> None:
        super().__init__(reason or code.value)
        self.code = code
        self.status = status or code.status
        self.text = text or code.text
        self.reason = reason
        self.retry_after = retry_after or code.retry_after
        self.details = details

    def body(self) -> dict[str, Any]:
        return {"error": self.text, "code": self.code.value, **self.details}


def malformed(reason: str | None, *, status: int = 400) -> ApiError:
    """Return the error for what is no HTTP, or more of it than is read; `reason` goes to the log."""
    return ApiError(ErrorCode.BAD_REQUEST, reason=reason, status=status, text=TOO_LARGE_TEXTS.get(status), fields={})


def invalid_fields(fields: Mapping[str, str]) -> ApiError:
    """Return the error that says what is wrong with which field, also in its sentence: some show nothing else of it."""
    faults = "; ".join(f"{name} {fault}" for name, fault in fields.items())
    code = ErrorCode.INVALID_FIELDS
    return ApiError(code, text=f"{code.text.removesuffix('.')}: {faults}.", fields=fields)


def as_api_error(error: Exception) -> ApiError:
    """Return how an exception is answered, whatever it is."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, HTTPException):
        return _of_werkzeug(error)
    if isinstance(error, InvalidDateRangeError):
        return invalid_fields(error.fields)
    code = CODES.get(type(error), ErrorCode.INTERNAL_ERROR)
    details = {name: getattr(error, name) for name in code.carries if name != "request_id"}
    reason = str(error) or (repr(error) if code is ErrorCode.INTERNAL_ERROR else None)
    return ApiError(code, reason=reason, retry_after=getattr(error, "retry_after", None), **details)


def _of_werkzeug(error: HTTPException) -> ApiError:
    if isinstance(error, MethodNotAllowed):
        code = ErrorCode.METHOD_NOT_ALLOWED
        usable = sorted(set(error.valid_methods or ()) - {"HEAD", "OPTIONS"})
        return ApiError(code, text=f"{code.text} Use {' or '.join(usable)}.")
    if error.code == 404:
        return ApiError(ErrorCode.NOT_FOUND)
    if error.code == 413:
        return ApiError(ErrorCode.BODY_TOO_LARGE)
    if error.code is not None and error.code < 500:
        return malformed(None)
    return ApiError(ErrorCode.INTERNAL_ERROR, reason=repr(error))
