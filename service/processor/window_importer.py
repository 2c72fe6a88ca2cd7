"""The way of a window: fetch a page, store it with its checkpoint, go on with the next one.

A window is one query of the API, and it ends when the API says that there is no next page. Whether the calls come in
an order, how fine their times are and whether the API keeps to its bounds does not matter. A window that is cut starts
afresh: before its second page, when others wait for work; where it was planned and goes on far beyond its plan; or when
the API has forgotten its cursor.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeVar

import structlog

from service.database import Conn, Database
from service.jobs import leases
from service.jobs.leases import Claim, Stored, Window
from service.processor.call_page import CallPage
from service.processor.endless_guard import EndlessGuard, ForgottenCursors
from service.processor.errors import EndlessListError, StaleCursorError
from service.processor.page_fetcher import PageFetcher
from service.processor.ultravox import first_query

# Neighbouring windows overlap, for an API that takes a bound for exclusive or rounds it: by the first of these that is
# a small part of the window.
OVERLAPS = (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1))
SMALL_PART = 40

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class WindowImporter:
    """Imports windows of one job. Between two pages, `stopped` is asked whether to go on."""

    database: Database
    fetcher: PageFetcher
    claim: Claim
    lease: timedelta
    stopped: Callable[[], bool]
    wants_cut: Callable[[Window, CallPage, int], bool]
    on_stored: Callable[[Claim, Stored], None]
    forgotten: ForgottenCursors = field(default_factory=ForgottenCursors)

    def run(self, window: Window) -> list[Window]:
        """Import a window from its checkpoint on, to its end; or cut it, and return what it was cut into.

        Raises JobFailedError, RetryableError, LeaseLostError, StopRequested, and the database's errors.
        """
        try:
            return self._run(window)
        except EndlessListError as error:
            if not window.is_recheck:
                raise
            # It looks for calls that the API may never list, and nothing is new in what it does list.
            log.info("recheck_given_up", job_id=str(self.claim.job_id), window=window.id, cause=str(error))
            return []

    def _run(self, window: Window) -> list[Window]:
        endless = EndlessGuard()
        query, listed = window.cursor or self._first_query(window), 0
        may_be_cut = window.cursor is None
        while not self.stopped():
            try:
                page = self.fetcher.fetch(query)
            except StaleCursorError:
                return self._start_afresh(window, endless)
            stored = self._store(window, page)
            self.on_stored(self.claim, stored)
            if page.next_query is None:
                return []
            endless.check(page, stored)
            query, listed = page.next_query, listed + len(page.calls)
            if may_be_cut and self.wants_cut(window, page, listed) and (halves := self._cut(window)):
                return halves
            may_be_cut = window.planned_calls is not None
        return []  # whoever asked to stop does not take it for the end

    def _first_query(self, window: Window) -> str:
        # Outside of the job's range nothing is wanted; what two windows bring is counted once.
        starts_at, ends_at, overlap = window.starts_at, window.ends_at, _overlap(window)
        if starts_at is not None and starts_at != self.claim.date_from:
            starts_at -= overlap
            if self.claim.date_from is not None:
                starts_at = max(starts_at, self.claim.date_from)
        if ends_at != self.claim.date_to:
            ends_at = min(ends_at + overlap, self.claim.date_to)
        return first_query(starts_at, ends_at, self.claim.page_size)

    def _store(self, window: Window, page: CallPage) -> Stored:
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

    def _start_afresh(self, window: Window, endless: EndlessGuard) -> list[Window]:
        """Return windows in place of one whose cursor the API has forgotten: smaller ones, that need fewer cursors."""
        log.info("cursor_forgotten", job_id=str(self.claim.job_id), window=window.id)
        self.forgotten.note(brought_calls=endless.brought_calls)
        if halves := self._cut(window):
            return halves
        self._through_outages(lambda conn: leases.restart_window(conn, self.claim, window.id))
        return [replace(window, cursor=None)]

    def _cut(self, window: Window) -> list[Window]:
        return self._through_outages(lambda conn: leases.cut_window(conn, self.claim, window.id))

    def _through_outages(self, statement: Callable[[Conn], T]) -> T:
        return self.database.run_through_outages(statement, seconds=self.lease.total_seconds())


def _overlap(window: Window) -> timedelta:
    if window.starts_at is None:
        return OVERLAPS[0]
    width = window.ends_at - window.starts_at
    return next((overlap for overlap in OVERLAPS if overlap * SMALL_PART <= width), OVERLAPS[-1])
