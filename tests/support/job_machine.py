"""Random lives of jobs in the real database, beside a model that says what each step may change."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import settings, strategies
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from psycopg import errors

from service.database import Conn, Database
from service.errors import DatabaseError, LeaseLostError
from service.jobs import leases
from service.jobs.leases import Claim, Window
from tests.support.database import Sql, add_agency, empty_tables
from tests.support.processing import LEASE, UNTIL, add_job, calls_before, snapshot, store_calls

MAX_FAILURES = 3
ACTIVE = ("pending", "in_progress")


@dataclass
class Model:
    """What a job must be."""

    agency_id: UUID
    status: str = "pending"
    token: int = 0
    leased: bool = False
    waiting: bool = False  # for its next attempt
    paged: int = 0
    begun: bool = False
    finished: bool = False
    failures: int = 0
    imported: int = 0
    skipped: int = 0
    failed: int = 0

    @property
    def due(self) -> bool:
        return (self.status == "pending" and not self.waiting) or (self.status == "in_progress" and not self.leased)

    def end(self, status: str) -> None:
        self.status, self.leased = status, False


@dataclass
class Held:
    """A claim that somebody made, and may still believe in."""

    claim: Claim
    window: Window
    model: Model = field(repr=False)

    @property
    def live(self) -> bool:
        return self.model.leased and self.model.token == self.claim.fencing_token


class Lives(RuleBasedStateMachine):
    database: Database
    sql: Sql

    held = Bundle("held")

    @initialize()
    def begin(self) -> None:
        empty_tables(self.sql)
        self.agencies = [add_agency(self.sql) for _ in range(2)]
        self.jobs: dict[UUID, Model] = {}
        self.calls: dict[UUID, int] = dict.fromkeys(self.agencies, 0)

    def active(self, agency_id: UUID) -> list[Model]:
        return [model for model in self.jobs.values() if model.agency_id == agency_id and model.status in ACTIVE]

    @rule(which=strategies.integers(0, 1))
    def start(self, which: int) -> None:
        agency_id = self.agencies[which]
        if self.active(agency_id):
            with pytest.raises(errors.UniqueViolation):
                add_job(self.sql, agency_id)
        else:
            self.jobs[add_job(self.sql, agency_id)] = Model(agency_id)

    @rule(target=held)
    def claim(self) -> Any:
        with self.database.connection() as conn:
            claim = leases.claim(conn, LEASE)
            due = [job_id for job_id, model in self.jobs.items() if model.due]
            if claim is None:
                assert due == []
                return multiple()
            assert claim.job_id in due
            model = self.jobs[claim.job_id]
            model.token += 1
            model.failures += model.status == "in_progress"  # its lease ran out
            model.status, model.leased = "in_progress", True
            assert claim.fencing_token == model.token
            windows = self.sql.execute("select id from historical_sync.windows where job_id = %s", [claim.job_id])
            [window] = windows.fetchall()
            assert [w.id for w in leases.unfinished_windows(conn, claim)] == ([] if model.finished else [window["id"]])
        return Held(claim, Window(window["id"], None, UNTIL, None), model)

    @rule()
    def leases_run_out(self) -> None:
        self.sql.execute(
            "update public.historical_sync_jobs set lease_expires_at = clock_timestamp() where status = 'in_progress'"
        )
        for model in self.jobs.values():
            model.leased = False

    @rule()
    def next_attempts_come(self) -> None:
        self.sql.execute("update public.historical_sync_jobs set next_attempt_at = now() where status = 'pending'")
        for model in self.jobs.values():
            model.waiting = False

    @rule(held=held, fresh=strategies.integers(0, 3), damaged=strategies.booleans(), last=strategies.booleans())
    def store(self, held: Held, fresh: int, damaged: bool, last: bool) -> None:
        """A page that begins with a call of the page before, as pages do when calls move."""
        model = held.model
        if model.finished:
            return
        overlap = min(model.paged, 1)
        calls = calls_before(UNTIL - timedelta(milliseconds=model.paged - overlap), fresh + overlap)
        if damaged:
            calls.append({"created": None, "note": str(uuid4())})
        next_query = None if last else f"cursor={uuid4()}"  # an API has one for each page
        if self.try_to(held, lambda conn: store_calls(conn, held.claim, held.window, calls, next_query)):
            known = self.calls[model.agency_id]
            model.paged += fresh
            self.calls[model.agency_id] = max(known, model.paged)
            model.imported += self.calls[model.agency_id] - known
            model.skipped += fresh - (self.calls[model.agency_id] - known)
            model.failed += damaged
            # A first page without news can be the same one again, after a forgotten cursor: no progress.
            if fresh or damaged or last or model.begun:
                model.failures = 0
            model.finished, model.begun = last, True

    @rule(held=held)
    def beat(self, held: Held) -> None:
        self.try_to(held, lambda conn: leases.heartbeat(conn, held.claim, LEASE))

    @rule(held=held)
    def complete(self, held: Held) -> None:
        if held.live and not held.model.finished:
            before = snapshot(self.sql)
            with pytest.raises(DatabaseError), self.database.connection() as conn:
                leases.complete(conn, held.claim)
            assert snapshot(self.sql) == before
        elif self.try_to(held, lambda conn: leases.complete(conn, held.claim)):
            held.model.end("completed")

    @rule(held=held)
    def fail(self, held: Held) -> None:
        if self.try_to(held, lambda conn: leases.fail(conn, held.claim, "401")):
            held.model.end("failed")

    @rule(held=held)
    def reschedule(self, held: Held) -> None:
        later = timedelta(hours=1)
        if self.try_to(
            held,
            lambda conn: leases.reschedule(conn, held.claim, "503", retry_after=later, max_failures=MAX_FAILURES),
        ):
            held.model.failures += 1
            held.model.waiting = held.model.failures < MAX_FAILURES
            held.model.end("pending" if held.model.waiting else "failed")

    @rule(held=held)
    def release(self, held: Held) -> None:
        if self.try_to(held, lambda conn: leases.release(conn, held.claim)):
            held.model.end("pending")

    @rule(held=consumes(held))
    def forget(self, held: Held) -> None:
        """Its processor was killed."""

    @rule(data=strategies.data())
    def cancel(self, data: strategies.DataObject) -> None:
        for job_id, model in self.draw_job(data):
            cancels = model.status in ACTIVE
            assert self.steer("cancel_job", model, job_id)["changed"] == cancels
            if cancels:
                model.waiting = False
                model.end("cancelled")

    @rule(data=strategies.data())
    def resume(self, data: strategies.DataObject) -> None:
        for job_id, model in self.draw_job(data):
            resumes = model.status in ("failed", "cancelled")
            if resumes and self.active(model.agency_id):
                with pytest.raises(errors.UniqueViolation):
                    self.steer("resume_job", model, job_id)
                return
            assert self.steer("resume_job", model, job_id)["changed"] == resumes
            if resumes:
                model.status, model.failures = "pending", 0
                if model.failed:  # its window begins again
                    model.begun = model.finished = False

    @invariant()
    def the_database_agrees_with_the_model(self) -> None:
        if not hasattr(self, "jobs"):
            return
        rows = self.sql.execute("select * from public.historical_sync_jobs").fetchall()
        assert {row["id"] for row in rows} == self.jobs.keys()
        for row in rows:
            model = self.jobs[row["id"]]
            assert (row["status"], row["fencing_token"], row["attempt"]) == (model.status, model.token, model.token)
            assert row["consecutive_failures"] == model.failures
            counts = (row["imported_calls"], row["skipped_calls"], row["failed_calls"])
            assert counts == (model.imported, model.skipped, model.failed)
            assert row["processed_calls"] == sum(counts)
        for agency_id in self.agencies:
            assert len(self.active(agency_id)) <= 1
            stored = self.sql.execute("select from public.calls where agency_id = %s", [agency_id])
            assert stored.rowcount == self.calls[agency_id]

    def try_to(self, held: Held, transition: Callable[[Conn], object]) -> bool:
        """Whether the lease allows it; what a stale one is used for changes nothing."""
        if held.live:
            with self.database.connection() as conn:
                transition(conn)
            return True
        before = snapshot(self.sql)
        with pytest.raises(LeaseLostError) as lost, self.database.connection() as conn:
            transition(conn)
        assert lost.value.job_status == held.model.status
        assert snapshot(self.sql) == before
        return False

    def draw_job(self, data: strategies.DataObject) -> list[tuple[UUID, Model]]:
        return [data.draw(strategies.sampled_from(list(self.jobs.items())))] if self.jobs else []

    def steer(self, function: str, model: Model, job_id: UUID) -> dict[str, Any]:
        [row] = self.sql.execute(f"select * from historical_sync.{function}(%s, %s)", [model.agency_id, job_id])
        return row


def run_random_lives(database: Database, sql: Sql) -> None:
    class HereAndNow(Lives):
        pass

    HereAndNow.database, HereAndNow.sql = database, sql
    run_state_machine_as_test(HereAndNow, settings=settings(max_examples=40, stateful_step_count=25, deadline=None))
