"""What can go wrong, one class each, without a word of HTTP: service/web/errors.py says how each is answered.

The message of an exception is for operators. It can quote the driver, so it goes to the log and never to a caller.
"""

from collections.abc import Mapping


class DatabaseError(Exception):
    """A statement failed in a way that nobody has foreseen. Those that are foreseen are its subclasses."""


class DatabaseUnavailableError(DatabaseError):
    """Postgres cannot be reached, or no connection was free in time."""


class DatabaseBusyError(DatabaseError):
    """Somebody else's lock, or a statement past its timeout. Nothing of the statement was done.

    `retry_after` is the number of seconds after which another try makes sense, None where nobody can tell.
    """

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DatabaseForbiddenError(DatabaseError):
    """The role may not do this: most likely the connection URL is another role's."""


class NotMigratedError(DatabaseError):
    """The database lacks a function or the schema of this release."""


class DataRefusedError(DatabaseError):
    """Postgres refused a value (SQLSTATE class 22)."""


class InvalidDateRangeError(DatabaseError):
    """The table of the jobs refused a range that is empty or runs backwards. `fields` says what is wrong with which."""

    fields: Mapping[str, str] = {"date_from": "must be before date_to"}


class JobConflictError(DatabaseError):
    """A unique index refused one more job: most likely the agency has an active one, which has to be asked for."""


class SyncAlreadyActiveError(Exception):
    """The agency has an active job, and so cannot have another one. `job` is that job (service.jobs.job.Job)."""

    def __init__(self, message: str, job: object) -> None:
        super().__init__(message)
        self.job = job


class SessionRevokedError(Exception):
    """The token is genuine, but its user has signed out or been banned or deleted since."""


class AgencyNotFoundError(Exception):
    """There is no agency of this id."""


class NoAgencyError(Exception):
    """The user has no row in `users`, or no agency there."""


class JobNotFoundError(Exception):
    """There is no job of this id."""


class JobNotYoursError(Exception):
    """The job belongs to another agency than the user."""


class _WrongStatusError(Exception):
    def __init__(self, current_status: str) -> None:
        super().__init__(f"the job is {current_status}")
        self.current_status = current_status


class JobNotCancellableError(_WrongStatusError):
    """Only a pending or running job can be cancelled; `current_status` says what it is."""


class JobNotResumableError(_WrongStatusError):
    """Only a failed or cancelled job can be resumed; `current_status` says what it is."""


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
