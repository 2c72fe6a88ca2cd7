"""The way of a window: fetch a page, store it with its checkpoint, go on with the next one.

A window is one query of the API, and it ends when the API says that there is no next page. Whether the calls come in
an order, how fine their times are and whether the API keeps to its bounds does not matter. A window that is cut starts
afresh: before its second page, when others wait for work; where it was planned and goes on far beyond its plan; or when
the API has forgotten its cursor.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeVar

import structlog

from service.database import Conn, Database
from service.jobs import leases
from service.jobs.leases import Claim, Stored, Window
from service.processor.backlog import Backlog
from service.processor.call_page import CallPage, mend
from service.processor.endless_guard import EndlessGuard, ForgottenCursors
from service.processor.errors import JobFailedError, RetryableError, StaleCursorError
from service.processor.page_fetcher import PageFetcher
from service.processor.ultravox import first_query

# Neighbouring windows overlap, for an API that takes a bound for exclusive or rounds it. Seams are at whole units of
# time, so that a second is enough to lie beyond one, whichever unit the API rounds to.
OVERLAP = timedelta(seconds=1)
# Pages of known calls that a recheck may list beside twice those of its day.
SPARE_PAGES = 3

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
    backlog: Backlog = field(default_factory=Backlog)
    forgotten: ForgottenCursors = field(default_factory=ForgottenCursors)
    no_more_rechecks: threading.Event = field(default_factory=threading.Event)

    def run(self, window: Window) -> list[Window]:
        """Import a window from its checkpoint on, to its end; or cut it, and return what it was cut into.

        Raises JobFailedError, RetryableError, LeaseLostError, StopRequested, and the database's errors.
        """
        if not window.is_recheck:
            return self._run(window)
        try:
            return [] if self.no_more_rechecks.is_set() else self._run(window)
        except (JobFailedError, RetryableError) as error:
            # The job has every call that was listed: it looks for those that may never be, and nothing fails over that.
            log.info("rechecks_given_up", job_id=str(self.claim.job_id), window=window.id, cause=str(error))
            self.no_more_rechecks.set()
            return []

    def _run(self, window: Window) -> list[Window]:
        endless = EndlessGuard(self._most_known_calls(window))
        query, listed = window.cursor or self._first_query(window), 0
        may_be_cut = window.cursor is None
        while not self.stopped():
            self.backlog.wait_for_room(self.stopped)
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
            if (
                may_be_cut
                and self.wants_cut(window, page, listed)
                and (halves := self._cut(window, to_the_second=False))
            ):
                return halves
            may_be_cut = window.planned_calls is not None
        return []  # whoever asked to stop does not take it for the end

    def _first_query(self, window: Window) -> str:
        # Outside of the job's range nothing is wanted; what two windows bring is counted once.
        starts_at, ends_at = window.starts_at, window.ends_at
        if starts_at is not None and starts_at != self.claim.date_from:
            starts_at -= OVERLAP
        if ends_at != self.claim.date_to:
            ends_at += OVERLAP
        return first_query(starts_at, ends_at, self.claim.page_size)

    def _most_known_calls(self, window: Window) -> int | None:
        if not window.is_recheck or window.planned_calls is None:
            return None
        return 2 * window.planned_calls + SPARE_PAGES * self.claim.page_size

    def _store(self, window: Window, page: CallPage) -> Stored:
        """Store a page, mended and call by call where Postgres refuses one of its calls."""
        stored = self._commit(window, page, singly=False)
        if stored is None:
            stored = self._commit(window, replace(page, calls=[mend(call) for call in page.calls]), singly=True)
        if stored is None:
            raise AssertionError("unreachable")
        if stored.failed_call_ids:
            log.warning("calls_not_stored", job_id=str(self.claim.job_id), call_ids=stored.failed_call_ids)
        return stored

    def _commit(self, window: Window, page: CallPage, *, singly: bool) -> Stored | None:
        """Commit a page, again if the answer is lost while the database is away: that counts nothing twice."""
        with self.backlog.turn(page.calls):
            return self._through_outages(
                lambda conn: leases.commit_page(
                    conn,
                    self.claim,
                    window.id,
                    calls=page.calls,
                    singly=singly,
                    age=timedelta(seconds=time.monotonic() - page.asked_at),
                    next_query=page.next_query,
                    total=page.total,
                    lease=self.lease,
                )
            )

    def _start_afresh(self, window: Window, endless: EndlessGuard) -> list[Window]:
        """Return windows in place of one whose cursor the API has forgotten: smaller ones, that need fewer cursors."""
        log.info("cursor_forgotten", job_id=str(self.claim.job_id), window=window.id)
        self.forgotten.note(brought_calls=endless.brought_calls)
        if halves := self._cut(window, to_the_second=self.forgotten.are_short_lived):
            return halves
        self._through_outages(lambda conn: leases.restart_window(conn, self.claim, window.id))
        return [replace(window, cursor=None)]

    def _cut(self, window: Window, *, to_the_second: bool) -> list[Window]:
        return self._through_outages(
            lambda conn: leases.cut_window(conn, self.claim, window.id, to_the_second=to_the_second)
        )

    def _through_outages(self, statement: Callable[[Conn], T]) -> T:
        return self.database.run_through_outages(statement, seconds=self.lease.total_seconds())
