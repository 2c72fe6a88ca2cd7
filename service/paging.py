"""The way of a window's pages: fetch, store with checkpoint, next."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from pydantic import SecretStr

from service import leases
from service.db import Database
from service.errors import DataRefusedError
from service.leases import Claim, Stored, Window
from service.ultravox import (
    Pace,
    Page,
    RetryableError,
    StaleCursorError,
    UltravoxClient,
    UltravoxError,
    first_query,
    sanitize,
)

# A page that fails is tried again on the spot, with waits that double from the first to the longest (with jitter);
# then, or where the API asks for a longer pause, the job is given back for later and its threads are free.
PAGE_TRIES = 6
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 10.0
ON_THE_SPOT_SECONDS = 20.0
# Pages in a row that bring nothing new, or that do not get further down, before an API is believed to be endless.
# Many calls can share an instant, thousands cannot.
REPEATED_PAGES = 3
PAGES_AT_ONE_INSTANT = 50
BARREN_PAGES = 500
SEAM = timedelta(seconds=1)

log = structlog.get_logger(__name__)


class Stopped(Exception):  # noqa: N818  # not an error
    """The work is to stop, and the page in hand is done."""


@dataclass(frozen=True)
class Pager:
    """Pages the windows of one job. `stopped` is asked between the pages."""

    database: Database
    client: UltravoxClient
    pace: Pace
    claim: Claim
    api_key: SecretStr
    lease: timedelta
    stopped: Callable[[], bool]

    def pages(self, window: Window) -> Iterator[Stored]:
        """Fetch and store a window's pages from its checkpoint on; yield what became of each.

        Raises UltravoxError, LeaseLostError, ServiceError and Stopped.
        """
        endless = EndlessGuard()
        query = window.cursor or self._first_query(window)
        while not self.stopped():
            try:
                page = self._fetch(query)
            except StaleCursorError:
                query = self._first_query(self._rewind(window))
                continue
            stored = self._store(window, page)
            if stored.failed_call_ids:
                log.warning("calls_not_stored", job_id=str(self.claim.job_id), call_ids=stored.failed_call_ids)
            yield stored
            if stored.finished or page.next_query is None:
                return
            endless.check(page, stored)
            query = page.next_query

    def _first_query(self, window: Window) -> str:
        # The API may show a time more coarsely than it filters by. Within the job's range, ask for a little more on
        # both sides: what is not this window's, or known, is left out when the page is stored.
        starts_at, ends_at = window.starts_at, window.position or window.ends_at
        if starts_at is not None and starts_at != self.claim.date_from:
            starts_at -= SEAM
        if ends_at != self.claim.date_to:
            ends_at += SEAM
        return first_query(starts_at, ends_at, self.claim.page_size)

    def _rewind(self, window: Window) -> Window:
        log.info("cursor_forgotten", job_id=str(self.claim.job_id), window=window.id)
        return self.database.run_through_outages(
            lambda conn: leases.rewind_window(conn, self.claim, window.id), seconds=self.lease.total_seconds()
        )

    def _fetch(self, query: str) -> Page:
        started = time.monotonic()
        for attempt in range(PAGE_TRIES):
            if self.pace.paused() > LONGEST_WAIT_SECONDS:
                # Another job with the same key was told so.
                raise RetryableError("Ultravox has asked for a pause", self.pace.paused())
            self._wait(self.pace.reserve())
            try:
                return self.client.page(self.api_key, query)
            except RetryableError as error:
                wait = self._wait_before_retry(attempt, error.retry_after)
                if wait is None or time.monotonic() - started + wait > ON_THE_SPOT_SECONDS:
                    raise
                log.info("page_retried", job_id=str(self.claim.job_id), cause=str(error), wait_seconds=round(wait, 2))
                self._wait(wait)
        raise AssertionError("unreachable")

    def _wait_before_retry(self, attempt: int, retry_after: float | None) -> float | None:
        """Seconds until the next try, None where this page has had its tries or the pause is too long to sit out."""
        wait = min(FIRST_WAIT_SECONDS * 2**attempt, LONGEST_WAIT_SECONDS) * random.uniform(0.5, 1)  # noqa: S311
        if retry_after is not None:
            self.pace.pause(retry_after)  # the API means the key, not the page
            wait = max(wait, retry_after + random.uniform(0, 0.25))  # noqa: S311  # not a secret
        return wait if attempt + 1 < PAGE_TRIES and wait <= LONGEST_WAIT_SECONDS else None

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self.stopped():
                raise Stopped
            time.sleep(min(left, 0.1))

    def _store(self, window: Window, page: Page) -> Stored:
        """Store a page, trying again while the database is away: the same page again counts nothing twice."""

        def store(body: str) -> Stored:
            return self.database.run_through_outages(
                lambda conn: leases.store_page(
                    conn,
                    self.claim,
                    window.id,
                    fetched_at=page.fetched_at,
                    body=body,
                    next_query=page.next_query,
                    total=page.total,
                    lease=self.lease,
                ),
                seconds=self.lease.total_seconds(),
            )

        try:
            return store(page.body)
        except DataRefusedError:
            return store(sanitize(page.body))


@dataclass
class EndlessGuard:
    """Tells an API whose pages never end."""

    first_ids: set[str | None] = field(default_factory=lambda: {None})
    repeated: int = 0
    reached: datetime | None = None
    pages_here: int = 0
    barren: int = 0

    def check(self, page: Page, stored: Stored) -> None:
        """Raises UltravoxError."""
        self.repeated = self.repeated + 1 if page.first_call_id in self.first_ids else 0
        self.first_ids.add(page.first_call_id)
        # Only where the API keeps to newest first does every page have to get further down.
        stays = stored.splittable and stored.reached == self.reached
        self.pages_here = self.pages_here + 1 if stays else 0
        self.reached = stored.reached
        brought = stored.imported or stored.skipped or stored.failed_call_ids
        self.barren = 0 if brought else self.barren + 1
        if self.barren >= BARREN_PAGES or self.repeated >= REPEATED_PAGES or self.pages_here >= PAGES_AT_ONE_INSTANT:
            raise UltravoxError("Ultravox keeps giving next pages without new calls. Try again later.")
