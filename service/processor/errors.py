"""Why the import of a job ends before its end: for good, for now, or because it is told to stop."""


class JobFailedError(Exception):
    """The job cannot go on, and no retry mends that; the message tells the people of the agency what to do."""


class KeyRefusedError(JobFailedError):
    """Ultravox does not accept the API key; `status` is its answer, None where the key was not even sent."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(f"{message} Ask whoever operates the service to set a valid one, then resume.")
        self.status = status


class RetryableError(Exception):
    """Ultravox did not give a page; worth another try, not before `retry_after` seconds where it said so.

    The message is fit for the people of the agency: a clause, which reschedule_job() ends.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PageTooLargeError(RetryableError):
    """A page has more bytes than are taken; a smaller one may do."""


class StaleCursorError(Exception):
    """Ultravox has forgotten the cursor; the window that it belongs to starts afresh."""


class StopRequested(Exception):  # noqa: N818  # not an error
    """The work is to stop, and the page in hand is done."""
