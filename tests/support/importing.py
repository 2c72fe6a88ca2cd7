"""Imports that a test steers: an agency, its calls in the stand-in API, and jobs in a real database."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from service.database import Database
from service.jobs import leases
from service.jobs.job import Job
from service.jobs.leases import Claim, Stored, Window
from service.local.demo_calls import Call
from service.local.standin import Faults, StandinServer
from service.processor.call_page import CallPage
from service.processor.job_importer import JobImporter
from service.processor.page_fetcher import PageFetcher
from service.processor.rate_limiter import RateLimiter
from service.processor.ultravox import UltravoxClient
from service.processor.window_importer import WindowImporter
from service.settings import Settings
from tests.support.database import Sql
from tests.support.processing import LEASE, add_job, store_calls

KEY = "abcd1234.0123456789abcdef0123456789abcdef"
FROM, TO = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)


def call_at(created: datetime, call_id: str, **more: object) -> Call:
    return {"callId": call_id, "created": created.isoformat().replace("+00:00", "Z"), **more}


def calls(count: int, at_once: int = 1) -> list[Call]:
    """So many calls, a few at each instant."""
    return [call_at(FROM + timedelta(minutes=i // at_once), f"call-{i:03}") for i in range(count)]


@dataclass
class Import:
    """An agency, its calls in the stand-in, and jobs that import them."""

    sql: Sql
    database: Database
    server: StandinServer
    agency_id: UUID
    job_id: UUID | None = None
    stopped: Callable[[], bool] = field(default=lambda: False)
    wants_cut: Callable[[CallPage], bool] = field(default=lambda _: False)

    def put(self, *calls: Call) -> None:
        for call in calls:
            self.server.put_call(KEY, call)

    def claim(self, date_from: datetime | None = FROM, date_to: datetime = TO) -> Claim:
        """Create a job and claim it, after completing the one before."""
        self.sql.execute("update historical_sync_jobs set status = 'completed', lease_expires_at = null")
        self.job_id = add_job(self.sql, self.agency_id, date_from, date_to)
        with self.database.connection() as conn:
            claim = leases.claim(conn, LEASE)
        assert claim is not None
        assert claim.job_id == self.job_id
        return claim

    def windows(self, claim: Claim) -> list[Window]:
        with self.database.connection() as conn:
            return leases.unfinished_windows(conn, claim)

    def work(self, claim: Claim, after_page: Callable[[Stored], None] = lambda _: None) -> list[Stored]:
        """Import the windows one after the other, and those they are cut into; return what became of each page."""
        pages: list[Stored] = []

        def note(_: Claim, stored: Stored) -> None:
            pages.append(stored)
            after_page(stored)

        client = UltravoxClient(self.server.url, timeout=60, connections=1)
        importer = WindowImporter(
            self.database,
            PageFetcher(claim.job_id, client, SecretStr(KEY), RateLimiter(1000), stopped=lambda: self.stopped()),
            claim,
            LEASE,
            stopped=lambda: self.stopped(),
            wants_cut=lambda _, page, __: self.wants_cut(page),
            on_stored=note,
        )
        assert KEY not in repr(importer)
        windows = deque(self.windows(claim))
        while windows and not self.stopped():
            windows.extend(importer.run(windows.popleft()))
        return pages

    def complete(self, claim: Claim | None = None, *, threads: int = 1, client: Any = None) -> Job:
        """Import a job from beginning to end."""
        client = client or UltravoxClient(self.server.url, timeout=60, connections=threads)
        return import_claimed(self.database, claim or self.claim(), client, threads=threads)

    def run(self, **dates: Any) -> list[Stored]:
        claim = self.claim(**dates)
        pages = self.work(claim)
        assert self.windows(claim) == []
        return pages

    def counts(self) -> tuple[int, int, int, int]:
        """Processed, imported, skipped and failed calls of the newest job."""
        [row] = self.sql.execute("select * from historical_sync_jobs where id = %s", [self.job_id]).fetchall()
        return row["processed_calls"], row["imported_calls"], row["skipped_calls"], row["failed_calls"]

    def store(self, claim: Claim, results: list[Any], next_query: str | None = "cursor=c") -> Stored:
        """Store a page of these as if it came from the API now."""
        [window] = self.windows(claim)
        with self.database.connection() as conn:
            return store_calls(conn, claim, window, results, next_query)

    def ids(self) -> list[str]:
        rows = self.sql.execute("select ultravox_call_id from calls where agency_id = %s order by 1", [self.agency_id])
        return [row["ultravox_call_id"] for row in rows]

    def rows(self) -> dict[str, dict[str, Any]]:
        rows = self.sql.execute("select * from calls where agency_id = %s order by ultravox_call_id", [self.agency_id])
        return {row["ultravox_call_id"]: row for row in rows}


def import_claimed(database: Database, claim: Claim, client: Any, *, threads: int = 1) -> Job:
    """Import a claimed job from beginning to end, as a processor does it."""
    return JobImporter(
        database,
        client,
        claim,
        SecretStr(KEY),
        RateLimiter(1e6),
        LEASE,
        threads=threads,
        stopping=threading.Event(),
        on_stored=lambda *_: None,
    ).run()


@contextmanager
def importing(sql: Sql, agency_id: UUID, settings: Settings) -> Iterator[Import]:
    """An import of three calls a page."""
    with ExitStack() as stack:
        database = Database.of_processor(settings)
        stack.callback(database.close)
        server = stack.enter_context(StandinServer({KEY: []}, faults=Faults(max_page_size=3)))
        yield Import(sql, database, server, agency_id)
