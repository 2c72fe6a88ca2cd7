"""Why the import of a job ends before its end: for good, for now, or because it is told to stop."""

# The people of an agency can resume a job, and ask; keys, logs and the database are out of their reach.
RESUME_LATER = "Resume later, and tell support if that does not help."


class JobFailedError(Exception):
    """The job cannot go on, and no retry mends that.

    `what` has happened, in a sentence. The message, for the people of the agency, also says what they can do.
    """

    def __init__(self, what: str, to_do: str = RESUME_LATER) -> None:
        super().__init__(f"{what} {to_do}")
        self.what = what


class KeyRefusedError(JobFailedError):
    """Ultravox does not accept the API key; `status` is its answer, None where the key was not even sent."""

    def __init__(self, what: str, status: int | None = None) -> None:
        super().__init__(what, "Ask support to set a valid one, then resume.")
        self.status = status


class RetryableError(Exception):
    """Ultravox did not give a page; worth another try, not before `retry_after` seconds where it said so.

    `what` has happened is told to the people of the agency: a clause, which reschedule_job() ends.
    """

    def __init__(self, what: str, retry_after: float | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.retry_after = retry_after


class PageTooLargeError(RetryableError):
    """A page has more bytes than are taken; a smaller one may do."""


class StaleCursorError(Exception):
    """Ultravox has forgotten the cursor; the window that it belongs to starts afresh."""


class StopRequested(Exception):  # noqa: N818  # not an error
    """The work is to stop, and the page in hand is done."""
