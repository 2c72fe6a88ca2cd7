"""Fetches a page of calls: at the pace of its API key, and again where that fails."""

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from pydantic import SecretStr

from service.processor.call_page import CallPage
from service.processor.errors import PageTooLargeError, RetryableError, StopRequested
from service.processor.rate_limiter import RateLimiter
from service.processor.ultravox import HANDY_ANSWER, LARGEST_ANSWER, UltravoxClient

# A page that fails is tried again on the spot, with waits that double from the first to the longest (with jitter);
# then, or where the API asks for a longer pause, the job is given back for later (reschedule_job.sql says when), and
# its threads are free.
PAGE_TRIES = 6
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 10.0
ON_THE_SPOT_SECONDS = 20.0
# How soon a wait notices that the work is to stop.
LOOK_UP_SECONDS = 0.1

ASKED = re.compile(r"(?<=\bpageSize=)\d+")

log = structlog.get_logger(__name__)


@dataclass
class PageSize:
    """How many calls a page of a job may have: fewer for the rest of it once one had too many bytes."""

    limit: int | None = None

    def applied_to(self, query: str) -> tuple[str, int]:
        """Return the query as it is to be asked, and how many bytes its page may have: all, where none is smaller."""
        asked = ASKED.search(query)
        if asked is None:
            return query, LARGEST_ANSWER
        size = min(int(asked[0]), self.limit or int(asked[0]))
        return ASKED.sub(str(size), query), HANDY_ANSWER if size > 1 else LARGEST_ANSWER

    def halve(self, query: str) -> None:
        if asked := ASKED.search(query):
            self.limit = min(self.limit or int(asked[0]), max(1, int(asked[0]) // 2))


@dataclass(frozen=True)
class PageFetcher:
    """Fetches pages of one job. While it waits, `stopped` is asked whether to go on."""

    job_id: UUID
    client: UltravoxClient
    api_key: SecretStr
    limiter: RateLimiter
    stopped: Callable[[], bool]
    page_size: PageSize = field(default_factory=PageSize)

    def fetch(self, query: str) -> CallPage:
        """Return the page of a query, a smaller one where it has too many bytes.

        Raises RetryableError for what lasts, JobFailedError, StaleCursorError and StopRequested.
        """
        while True:
            asked, largest = self.page_size.applied_to(query)
            try:
                return self._fetch(asked, largest)
            except PageTooLargeError as error:
                if largest == LARGEST_ANSWER:
                    raise
                self.page_size.halve(asked)
                log.info("page_too_large", job_id=str(self.job_id), cause=str(error), page_size=self.page_size.limit)

    def _fetch(self, query: str, largest: int) -> CallPage:
        started = time.monotonic()
        for attempt in range(PAGE_TRIES):
            self._wait_for_turn()
            try:
                return self.client.page(self.api_key, query, largest=largest)
            except PageTooLargeError:
                raise
            except RetryableError as error:
                wait = self._wait_before_retry(attempt, error.retry_after)
                if wait is None or time.monotonic() - started + wait > ON_THE_SPOT_SECONDS:
                    raise
                log.info("page_retried", job_id=str(self.job_id), cause=str(error), wait_seconds=round(wait, 2))
                self._wait(wait)
        raise AssertionError("unreachable")

    def _wait_for_turn(self) -> None:
        if self.limiter.paused() > LONGEST_WAIT_SECONDS:
            # Another job with the same key was told so.
            raise RetryableError("Ultravox asked for a pause", self.limiter.paused())
        self._wait(self.limiter.reserve())

    def _wait_before_retry(self, attempt: int, retry_after: float | None) -> float | None:
        """Seconds until the next try, None where this page has had its tries or the pause is too long to sit out."""
        wait = min(FIRST_WAIT_SECONDS * 2**attempt, LONGEST_WAIT_SECONDS) * random.uniform(0.5, 1)  # noqa: S311
        if retry_after is not None:
            self.limiter.pause(retry_after)  # the API means the key, not the page
            wait = max(wait, retry_after + random.uniform(0, 0.25))  # noqa: S311  # not a secret
        return wait if attempt + 1 < PAGE_TRIES and wait <= LONGEST_WAIT_SECONDS else None

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self.stopped():
                raise StopRequested
            time.sleep(min(left, LOOK_UP_SECONDS))
