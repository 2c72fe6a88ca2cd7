"""The closed list of errors: code, HTTP status and public text, in one table.

A caller sees the code and the text and nothing else; `ServiceError.__cause__` and the log carry the cause.
"""

from enum import Enum
from typing import Any


class ErrorCode(Enum):
    """Each member's value is the stable word that programs match on."""

    status: int
    text: str

    def __new__(cls, code: str, status: int, text: str) -> "ErrorCode":
        member = object.__new__(cls)
        member._value_ = code
        member.status = status
        member.text = text
        return member

    INVALID_BODY = "invalid_body", 400, "The request body must be a JSON object."
    INVALID_FIELDS = "invalid_fields", 400, "The request has invalid fields."
    BAD_REQUEST = "bad_request", 400, "The request is malformed."
    JOB_NOT_CANCELLABLE = "job_not_cancellable", 400, "Only a pending or running job can be cancelled."
    JOB_NOT_RESUMABLE = "job_not_resumable", 400, "Only a failed or cancelled job can be resumed."
    TOKEN_MISSING = "token_missing", 401, "An Authorization header with a Bearer token is required."
    TOKEN_INVALID = "token_invalid", 401, "The access token is invalid."
    TOKEN_EXPIRED = "token_expired", 401, "The access token has expired."
    SESSION_REVOKED = "session_revoked", 401, "The session is no longer valid. Sign in again."
    NO_AGENCY = "no_agency", 403, "The user does not belong to an agency."
    JOB_NOT_YOURS = "job_not_yours", 403, "This job belongs to another agency."
    NOT_FOUND = "not_found", 404, "There is nothing at this address."
    JOB_NOT_FOUND = "job_not_found", 404, "There is no such job."
    METHOD_NOT_ALLOWED = "method_not_allowed", 405, "This method is not allowed here."
    SYNC_ALREADY_ACTIVE = (
        "sync_already_active",
        409,
        "A historical sync job already exists for this agency. Wait for it or cancel it.",
    )
    BODY_TOO_LARGE = "body_too_large", 413, "The request body is too large."
    INTERNAL_ERROR = "internal_error", 500, "Something went wrong. Quote the request id to support."
    DATABASE_UNAVAILABLE = (
        "database_unavailable",
        503,
        "The database is unavailable at the moment. Try again shortly.",
    )
    DATABASE_BUSY = (
        "database_busy",
        503,
        "The database is busy with other work at the moment. Try again shortly.",
    )
    AUTH_KEYS_UNAVAILABLE = (
        "auth_keys_unavailable",
        503,
        "Access tokens cannot be verified at the moment. Try again shortly.",
    )


class LeaseLostError(Exception):
    """The lease on a job is over: it ran out, another processor has claimed the job, or somebody cancelled it.

    Says what the job has come to.
    """

    def __init__(self, job_status: str, imported: int, skipped: int, failed: int) -> None:
        super().__init__(f"the lease is over, the job is {job_status}")
        self.job_status = job_status
        self.imported = imported
        self.skipped = skipped
        self.failed = failed


class ServiceError(Exception):
    """An answer other than success.

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
        self.retry_after = retry_after
        self.details = details


class DataRefusedError(ServiceError):
    """Postgres refused a value (SQLSTATE class 22)."""
