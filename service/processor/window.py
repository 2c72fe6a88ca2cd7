"""The way of a window: fetch a page, store it with its checkpoint, go on with the next one.

A window is one query of the API, and it ends when the API says that there is no next page. Whether the calls come in
an order, how fine their times are and whether the API keeps to its bounds does not matter. A window is cut only where
it starts afresh: before its second page, when others wait for work, or when the API has forgotten its cursor.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeVar

import structlog
from pydantic import SecretStr

from service.database import Conn, Database
from service.jobs import leases
from service.jobs.leases import Claim, Stored, Window
from service.processor.page import Page
from service.processor.ultravox import (
    Pace,
    RetryableError,
    StaleCursorError,
    UltravoxClient,
    UltravoxError,
    first_query,
)

# A page that fails is tried again on the spot, with waits that double from the first to the longest (with jitter);
# then, or where the API asks for a longer pause, the job is given back for later and its threads are free.
PAGE_TRIES = 6
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 10.0
ON_THE_SPOT_SECONDS = 20.0
# Pages in a row after which an API is believed to be endless: the same ones as before, empty ones, and such as hold
# only calls that the job has been given already, as they do where an API does not keep to its bounds.
REPEATED_PAGES = 3
EMPTY_PAGES = 100
BARREN_PAGES = 10_000
# Neighbouring windows overlap by so much, for an API that takes a bound for exclusive.
SEAM = timedelta(seconds=1)

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Stopped(Exception):  # noqa: N818  # not an error
    """The work is to stop, and the page in hand is done."""


@dataclass(frozen=True)
class WindowImport:
    """Imports windows of one job. Between two pages, `stopped` is asked whether to go on."""

    database: Database
    client: UltravoxClient
    pace: Pace
    claim: Claim
    api_key: SecretStr
    lease: timedelta
    stopped: Callable[[], bool]
    wants_cut: Callable[[Page], bool]
    on_stored: Callable[[Claim, Stored], None]

    def run(self, window: Window) -> list[Window]:
        """Import a window from its checkpoint on, to its end; or cut it, and return what it was cut into.

        Raises UltravoxError, LeaseLostError, DatabaseError and Stopped.
        """
        endless = EndlessGuard()
        query = window.cursor or self._first_query(window)
        first = window.cursor is None
        while not self.stopped():
            try:
                page = self._fetch(query)
            except StaleCursorError:
                return self._start_afresh(window, endless)
            stored = self._commit(window, page)
            self.on_stored(self.claim, stored)
            if page.next_query is None:
                return []
            endless.check(page, stored)
            if first and self.wants_cut(page) and (halves := self._cut(window)):
                return halves
            query, first = page.next_query, False
        return []  # whoever asked to stop does not take it for the end

    def _first_query(self, window: Window) -> str:
        # Outside of the job's range nothing is wanted; what two windows bring is counted once.
        starts_at, ends_at = window.starts_at, window.ends_at
        if starts_at is not None and starts_at != self.claim.date_from:
            starts_at -= SEAM
        if ends_at != self.claim.date_to:
            ends_at += SEAM
        return first_query(starts_at, ends_at, self.claim.page_size)

    def _start_afresh(self, window: Window, endless: "EndlessGuard") -> list[Window]:
        """Return windows in place of one whose cursor the API has forgotten: smaller ones, that need fewer cursors."""
        log.info("cursor_forgotten", job_id=str(self.claim.job_id), window=window.id)
        if halves := self._cut(window):
            return halves
        if window.cursor is None and not endless.brought_calls:
            raise UltravoxError("Ultravox forgets its place in the list again and again, without new calls.")
        self._through_outages(lambda conn: leases.restart_window(conn, self.claim, window.id))
        return [replace(window, cursor=None)]

    def _cut(self, window: Window) -> list[Window]:
        return self._through_outages(lambda conn: leases.cut_window(conn, self.claim, window.id))

    def _through_outages(self, statement: Callable[[Conn], T]) -> T:
        return self.database.run_through_outages(statement, seconds=self.lease.total_seconds())

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

    def _commit(self, window: Window, page: Page) -> Stored:
        """Store a page, again if the answer is lost while the database is away: that counts nothing twice."""
        stored = self._through_outages(
            lambda conn: leases.commit_page(
                conn,
                self.claim,
                window.id,
                calls=page.calls,
                age=timedelta(seconds=time.monotonic() - page.asked_at),
                next_query=page.next_query,
                total=page.total,
                lease=self.lease,
            )
        )
        if stored.failed_call_ids:
            log.warning("calls_not_stored", job_id=str(self.claim.job_id), call_ids=stored.failed_call_ids)
        return stored


@dataclass
class EndlessGuard:
    """Tells an API whose pages never end from one that has many: it brings nothing new, and again."""

    brought_calls: bool = False
    _seen: set[int] = field(default_factory=set)
    _repeated: int = 0
    _empty: int = 0
    _barren: int = 0

    def check(self, page: Page, stored: Stored) -> None:
        """Raises UltravoxError."""
        known = hash(tuple(page.calls))
        self.brought_calls = self.brought_calls or stored.brought_calls
        self._repeated = self._repeated + 1 if page.calls and known in self._seen else 0
        self._empty = 0 if page.calls else self._empty + 1
        self._barren = 0 if stored.brought_calls else self._barren + 1
        self._seen.add(known)
        if self._repeated >= REPEATED_PAGES or self._empty >= EMPTY_PAGES or self._barren >= BARREN_PAGES:
            raise UltravoxError("Ultravox keeps giving next pages without new calls. Try again later.")
