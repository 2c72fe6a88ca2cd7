"""The life of a job in the database: who may take it, who may write to it, and what each transition leaves behind."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors

from service.database import Conn, Database
from service.errors import DatabaseError, LeaseLostError
from service.jobs import leases
from service.jobs.job import Job
from service.jobs.leases import Claim, SourceCounts, Stored, Window
from service.settings import Settings
from tests.support.database import Sql, add_agency, login_url
from tests.support.job_machine import run_random_lives
from tests.support.processing import LEASE, UNTIL, add_job, calls_before, job, snapshot, status, store_calls
from tests.support.waiting import wait_until

DAY = timedelta(days=1)
COUNTS = SourceCounts({(UNTIL - DAY).date(): 5}, in_utc=True)
Transition = Callable[[Conn, Claim, Window], object]


@pytest.fixture
def database(make_settings: Callable[..., Settings]) -> Iterator[Database]:
    settings = make_settings()
    database = Database.of_processor(settings)
    yield database
    database.close()


class Lessee:
    """A processor's calls to the database, as a processor makes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self) -> Claim | None:
        with self._database.connection() as conn:
            return leases.claim(conn, LEASE)

    def take(self) -> tuple[Claim, Window]:
        """Claim a job of one window."""
        claim = self.claim()
        assert claim
        with self._database.connection() as conn:
            [window] = leases.unfinished_windows(conn, claim)
        return claim, window

    def apply(self, transition: Transition, claim: Claim, window: Window) -> Any:
        with self._database.connection() as conn:
            return transition(conn, claim, window)

    def reschedule(self, claim: Claim, *, retry_after: timedelta | None = None, max_failures: int = 100) -> Job:
        with self._database.connection() as conn:
            return leases.reschedule(conn, claim, "503", retry_after=retry_after, max_failures=max_failures)

    def store(self, claim: Claim, window: Window, calls: list[dict[str, Any]], next_query: str | None) -> Stored:
        with self._database.connection() as conn:
            return store_calls(conn, claim, window, calls, next_query)


@pytest.fixture
def lessee(database: Database) -> Lessee:
    return Lessee(database)


def store_page(conn: Conn, claim: Claim, window: Window) -> Stored:
    return store_calls(conn, claim, window, calls_before(UNTIL, 3), "cursor=next")


def finish_window(conn: Conn, claim: Claim, window: Window) -> Stored:
    return store_calls(conn, claim, window, [], None)


def reschedule(conn: Conn, claim: Claim, _: Window) -> Job:
    return leases.reschedule(conn, claim, "503", retry_after=None, max_failures=10)


TRANSITIONS: dict[str, Transition] = {
    "heartbeat": lambda conn, claim, _: leases.heartbeat(conn, claim, LEASE),
    "store_page": store_page,
    "finish_window": finish_window,
    "plan": lambda conn, claim, window: leases.plan(
        conn, claim, window.id, seams=[UNTIL - DAY], planned=[0, 5], counts=COUNTS
    ),
    "compare": lambda conn, claim, _: leases.compare_with_source(conn, claim, COUNTS, lease=LEASE),
    "cut_window": lambda conn, claim, window: leases.cut_window(conn, claim, window.id, to_the_second=True),
    "restart_window": lambda conn, claim, window: leases.restart_window(conn, claim, window.id),
    "complete": lambda conn, claim, _: leases.complete(conn, claim),
    "fail": lambda conn, claim, _: leases.fail(conn, claim, "401"),
    "reschedule": reschedule,
    "release": lambda conn, claim, _: leases.release(conn, claim),
}
SET = "update public.historical_sync_jobs set"
EXPIRE = f"{SET} lease_expires_at = clock_timestamp()"
ENDS = {
    "a wrong token": ("", "in_progress"),
    "an expired lease": (EXPIRE, "in_progress"),
    "a claim by another": (f"{EXPIRE}; select historical_sync.claim_due_job('1 minute')", "in_progress"),
    "a cancellation": (
        "select historical_sync.cancel_job(agency_id, id) from public.historical_sync_jobs",
        "cancelled",
    ),
    "a deletion": ("delete from public.historical_sync_jobs", "deleted"),
}


class TestClaim:
    def test_it_leases_the_job_under_a_new_token_and_plans_its_window(
        self, lessee: Lessee, sql: Sql, agency_id: UUID
    ) -> None:
        job_id = add_job(sql, agency_id, UNTIL - timedelta(days=9))
        sql.execute("update public.agencies set ultravox_api_key_encrypted = 'sealed'")
        claim, window = lessee.take()

        row = job(sql, job_id)
        bounds = (UNTIL - timedelta(days=9), UNTIL)
        assert claim == Claim(job_id, agency_id, row["fencing_token"], row["max_calls"], b"sealed", *bounds, 0)
        assert (row["status"], row["attempt"], row["fencing_token"]) == ("in_progress", 1, 1)
        [lease] = sql.execute("select lease_expires_at - clock_timestamp() as left from public.historical_sync_jobs")
        assert LEASE / 2 < lease["left"] <= LEASE
        assert (window.starts_at, window.ends_at, window.cursor) == (UNTIL - timedelta(days=9), UNTIL, None)

    def test_a_job_claimed_again_gets_a_higher_token_and_keeps_its_windows_and_its_start(
        self, lessee: Lessee, sql: Sql, agency_id: UUID
    ) -> None:
        job_id = add_job(sql, agency_id)
        first, window = lessee.take()
        started_at = job(sql, job_id)["started_at"]
        sql.execute(EXPIRE)
        second, same_window = lessee.take()

        assert second == replace(first, fencing_token=first.fencing_token + 1, consecutive_failures=1)
        assert same_window == window
        assert (job(sql, job_id)["started_at"], job(sql, job_id)["attempt"]) == (started_at, 2)

    def test_the_job_that_has_been_due_the_longest_comes_first(self, lessee: Lessee, sql: Sql) -> None:
        jobs = [add_job(sql, add_agency(sql)) for _ in range(3)]
        for job_id, column, age in zip(jobs, ("created_at", "next_attempt_at", "created_at"), (2, 3, 1), strict=True):
            sql.execute(f"{SET} {column} = now() - make_interval(hours => {age}) where id = '{job_id}'")

        claimed = [lessee.take()[0].job_id for _ in jobs]
        assert claimed == [jobs[1], jobs[0], jobs[2]]

    @pytest.mark.parametrize(
        ("state", "due"),
        [
            ("status = 'pending'", True),
            ("next_attempt_at = now() - interval '1 second'", True),
            ("next_attempt_at = now() + interval '1 minute'", False),
            ("status = 'in_progress', lease_expires_at = clock_timestamp() - interval '1 second'", True),
            ("status = 'in_progress', lease_expires_at = null", True),
            ("status = 'in_progress', lease_expires_at = clock_timestamp() + interval '1 minute'", False),
            ("status = 'completed'", False),
            ("status = 'failed'", False),
            ("status = 'cancelled'", False),
        ],
    )
    def test_a_job_is_due_or_not(self, lessee: Lessee, sql: Sql, agency_id: UUID, state: str, due: bool) -> None:
        add_job(sql, agency_id)
        sql.execute(f"{SET} {state}")
        assert (lessee.claim() is not None) == due

    def test_a_job_that_another_is_claiming_is_passed_over(self, lessee: Lessee, sql: Sql, database_url: str) -> None:
        first, second = (add_job(sql, add_agency(sql)) for _ in range(2))
        with psycopg.connect(database_url) as other:
            other.execute("select from public.historical_sync_jobs where id = %s for update", [first])
            assert lessee.take()[0].job_id == second
            assert lessee.claim() is None
        assert lessee.take()[0].job_id == first

    @pytest.mark.parametrize("errcode", ["P0001", "PT403", "P0002", "22023"])
    def test_a_row_that_cannot_be_claimed_stops_no_other_agencys_job(
        self, lessee: Lessee, sql: Sql, errcode: str
    ) -> None:
        """A rule of the project's own refuses every change of one job, and the lease of another one."""
        stuck, failing, sound = (add_job(sql, add_agency(sql)) for _ in range(3))
        with sql.transaction():
            sql.execute(
                f"""
                create function pg_temp.refuse() returns trigger language plpgsql as $$
                begin
                    if new.id = '{stuck}' or (new.id = '{failing}' and new.status = 'in_progress') then
                        raise exception 'not this one' using errcode = '{errcode}';
                    end if;
                    return new;
                end $$
                """
            )
            sql.execute(
                "create trigger refuse before update on public.historical_sync_jobs"
                " for each row execute function pg_temp.refuse()"
            )
        assert lessee.take()[0].job_id == sound
        assert lessee.claim() is None
        assert (status(sql, stuck), status(sql, failing)) == ("pending", "failed")
        assert "cannot be worked on" in job(sql, failing)["error_message"]
        sql.execute("drop trigger refuse on public.historical_sync_jobs")

    @pytest.mark.parametrize("lease", ["'300000 years'", "'-1 second'", "'infinity'", "null"])
    def test_a_lease_that_is_none_is_refused_and_fails_no_job(self, sql: Sql, agency_id: UUID, lease: str) -> None:
        job_id = add_job(sql, agency_id)
        with pytest.raises((errors.InvalidParameterValue, errors.DataError)):
            sql.execute(f"select * from historical_sync.claim_due_job({lease}::interval)")
        assert status(sql, job_id) == "pending"

    def test_the_first_page_again_gives_no_retry_budget_back(self, lessee: Lessee, sql: Sql, agency_id: UUID) -> None:
        job_id = add_job(sql, agency_id)
        claim, window = lessee.take()
        lessee.apply(store_page, claim, window)
        sql.execute(f"{SET} consecutive_failures = 3")
        lessee.apply(TRANSITIONS["restart_window"], claim, window)
        lessee.apply(store_page, claim, window)
        assert job(sql, job_id)["consecutive_failures"] == 3
        lessee.store(claim, window, [], "cursor=another")
        assert job(sql, job_id)["consecutive_failures"] == 0

    def test_a_lease_that_ran_out_is_a_failure_and_a_job_given_back_is_none(
        self, lessee: Lessee, sql: Sql, agency_id: UUID
    ) -> None:
        job_id = add_job(sql, agency_id)
        for died in (1, 2):
            lessee.take()
            sql.execute(EXPIRE)
            assert lessee.take()[0].consecutive_failures == died
            sql.execute(EXPIRE)
            sql.execute(f"{SET} lease_expires_at = null, status = 'pending'")
        claim, window = lessee.take()
        assert claim.consecutive_failures == 2
        lessee.apply(store_page, claim, window)
        assert job(sql, job_id)["consecutive_failures"] == 0
        lessee.apply(TRANSITIONS["release"], claim, window)
        assert lessee.take()[0].consecutive_failures == 0

    def test_a_job_without_windows_begins_at_the_beginning(self, lessee: Lessee, sql: Sql, agency_id: UUID) -> None:
        """As one of an original table does that was active, with counts of its own."""
        job_id = add_job(sql, agency_id)
        sql.execute(f"{SET} status = 'in_progress', processed_calls = 7, imported_calls = 7, total_calls = 9")
        claim, window = lessee.take()
        row = job(sql, job_id)
        assert (row["processed_calls"], row["imported_calls"], row["total_calls"]) == (0, 0, None)
        assert lessee.apply(store_page, claim, window).processed_calls == 3

    def test_it_looks_into_the_index_of_active_jobs_however_many_are_finished(self, sql: Sql) -> None:
        [function] = sql.execute(
            "select pg_get_functiondef('historical_sync.claim_due_job'::regproc) as text"
        ).fetchall()
        query = re.search(r"select due\..*?for update skip locked", function["text"], re.DOTALL)
        assert query
        statement = query[0].replace("into v_job_id", "").replace("v_passed_over", "'{}'::uuid[]")
        with sql.transaction(force_rollback=True):
            sql.execute("set local session_replication_role = replica")  # no check of 100,000 foreign keys
            sql.execute(
                """
                insert into public.historical_sync_jobs (agency_id, status, date_to, created_at)
                select gen_random_uuid(), status::public.sync_job_status, now(), now() - make_interval(mins => i)
                from (values ('completed', 100000), ('pending', 200)) as kinds (status, count),
                    generate_series(1, count) as i
                """
            )
            sql.execute("analyze public.historical_sync_jobs")
            [plan] = sql.execute(f"explain (format json) {statement}").fetchall()
        assert "'historical_sync_jobs_due'" in str(plan)
        assert "Seq Scan" not in str(plan)


class TestFence:
    @pytest.mark.parametrize("end", ENDS)
    @pytest.mark.parametrize("transition", TRANSITIONS)
    def test_without_a_lease_no_transition_changes_anything(
        self, lessee: Lessee, sql: Sql, agency_id: UUID, transition: str, end: str
    ) -> None:
        add_job(sql, agency_id)
        claim, window = lessee.take()
        lessee.apply(store_page, claim, window)
        statement, now = ENDS[end]
        if statement:
            sql.execute(statement)
        else:
            claim = replace(claim, fencing_token=claim.fencing_token + 1)
        before = snapshot(sql)

        with pytest.raises(LeaseLostError) as lost:
            lessee.apply(TRANSITIONS[transition], claim, window)
        assert lost.value.job_status == now
        assert snapshot(sql) == before

    @pytest.mark.parametrize("transition", TRANSITIONS)
    def test_under_a_lease_every_transition_but_complete_does_something(
        self, lessee: Lessee, sql: Sql, agency_id: UUID, transition: str
    ) -> None:
        add_job(sql, agency_id)
        claim, window = lessee.take()
        if transition in ("complete", "compare"):
            lessee.apply(store_page, claim, window)
            lessee.apply(finish_window, claim, window)
        before = snapshot(sql)
        lessee.apply(TRANSITIONS[transition], claim, window)
        assert snapshot(sql) != before

    @pytest.mark.parametrize("transition", ["cut_window", "restart_window", "store_page"])
    def test_who_waits_for_a_window_does_not_hold_its_job_so_that_nobody_deadlocks(
        self, lessee: Lessee, sql: Sql, agency_id: UUID, database_url: str, transition: str
    ) -> None:
        add_job(sql, agency_id)
        claim, window = lessee.take()
        with ThreadPoolExecutor(1) as thread, psycopg.connect(database_url) as busy:
            busy.execute("select from historical_sync.windows where id = %s for update", [window.id])
            waiting = thread.submit(lessee.apply, TRANSITIONS[transition], claim, window)
            blocked = f"select from pg_stat_activity where {busy.info.backend_pid} = any (pg_blocking_pids(pid))"
            wait_until(lambda: sql.execute(blocked).rowcount)
            busy.execute("select from public.historical_sync_jobs for update nowait")
            busy.rollback()
            waiting.result()


class TestTransitions:
    @pytest.fixture(autouse=True)
    def job_id(self, sql: Sql, agency_id: UUID) -> UUID:
        return add_job(sql, agency_id)

    def test_a_reschedule_backs_off_twice_as_long_each_time_up_to_ten_minutes(self, lessee: Lessee, sql: Sql) -> None:
        for seconds in (5, 10, 20, 40, 80, 160, 320, 600, 600):
            claim, _ = lessee.take()
            before = datetime.now(UTC)
            row = lessee.reschedule(claim)
            after = datetime.now(UTC)

            assert (row.status, row.error_message) == ("pending", "503")
            assert row.next_attempt_at
            assert before + timedelta(seconds=seconds) <= row.next_attempt_at
            assert row.next_attempt_at <= after + timedelta(seconds=seconds * 1.2)
            sql.execute(f"{SET} next_attempt_at = now()")

    @pytest.mark.parametrize("failures", [41, 42, 99, 2_000_000])
    def test_a_backoff_has_no_end_of_its_own(self, lessee: Lessee, sql: Sql, failures: int) -> None:
        sql.execute(f"{SET} consecutive_failures = {failures}")
        before = datetime.now(UTC)
        row = lessee.reschedule(lessee.take()[0], max_failures=3_000_000)
        assert row.next_attempt_at
        assert before + timedelta(minutes=10) <= row.next_attempt_at <= datetime.now(UTC) + timedelta(minutes=12)

    def test_a_reschedule_waits_as_long_as_the_api_asks(self, lessee: Lessee) -> None:
        hour, before = timedelta(hours=1), datetime.now(UTC)
        row = lessee.reschedule(lessee.take()[0], retry_after=hour)
        assert row.next_attempt_at
        assert before + hour <= row.next_attempt_at <= datetime.now(UTC) + hour * 1.2

    def test_failures_in_a_row_fail_the_job_and_a_page_stored_between_them_forgives(
        self, lessee: Lessee, sql: Sql, job_id: UUID
    ) -> None:
        statuses = []
        for page in (False, False, True, False, False):
            claim, window = lessee.take()
            if page:
                lessee.apply(store_page, claim, window)
                assert job(sql, job_id)["consecutive_failures"] == 0
                assert job(sql, job_id)["error_message"] is None
            statuses.append(lessee.reschedule(claim, max_failures=3).status)
            sql.execute(f"{SET} next_attempt_at = null")
        assert statuses == ["pending"] * 4 + ["failed"]
        failed = job(sql, job_id)
        assert failed["completed_at"] is not None
        assert failed["error_message"] == (
            "Given up (failures in a row: 3). The last one: 503. Resume later, and tell support if that does not help."
        )

    def test_a_job_with_unfinished_windows_cannot_be_completed(self, lessee: Lessee, sql: Sql, job_id: UUID) -> None:
        claim, window = lessee.take()
        with pytest.raises(DatabaseError):
            lessee.apply(TRANSITIONS["complete"], claim, window)
        assert status(sql, job_id) == "in_progress"

        lessee.apply(finish_window, claim, window)
        assert lessee.apply(TRANSITIONS["complete"], claim, window).status == "completed"

    def test_a_cut_halves_a_window_and_both_start_afresh(self, lessee: Lessee, sql: Sql, job_id: UUID) -> None:
        sql.execute(f"{SET} date_from = date_to - interval '8 days 0.5 seconds'")
        claim, window = lessee.take()
        lessee.store(claim, window, calls_before(UNTIL, 1), "cursor=next")
        newer, older = lessee.apply(TRANSITIONS["cut_window"], claim, window)
        seam = UNTIL - timedelta(days=5)
        assert newer == Window(window.id, seam, UNTIL, None)
        assert older == Window(older.id, UNTIL - timedelta(days=8, seconds=0.5), seam, None)

        lessee.store(claim, newer, [], None)
        assert lessee.apply(TRANSITIONS["cut_window"], claim, newer) == []
        assert sql.execute("select from historical_sync.windows where job_id = %s", [job_id]).rowcount == 2

    @pytest.mark.parametrize(
        ("starts_at", "ends_at", "to_the_second", "seam"),
        [
            ("2026-01-01 07:30", "2026-01-04 00:00", False, "2026-01-02 00:00"),
            ("2026-01-01 00:00", "2026-01-02 00:00", False, "2026-01-01 12:00"),
            ("2026-01-01 23:00", "2026-01-02 01:10", False, "2026-01-02 00:00"),
            ("2026-01-01 06:00", "2026-01-02 02:00", False, "2026-01-01 16:00"),  # midnight is too near the end
            ("2026-01-01 06:10", "2026-01-01 06:45", False, "2026-01-01 06:27"),
            ("2026-01-01 06:10:30", "2026-01-01 06:11:31", False, "2026-01-01 06:11"),
            ("2026-01-01 06:10:01", "2026-01-01 06:10:59", False, None),
            ("2026-01-01 06:10:01", "2026-01-01 06:10:59", True, "2026-01-01 06:10:30"),
            ("2026-01-01 06:10:01", "2026-01-01 06:10:02", True, None),
            ("2026-01-01 06:10:00.5", "2026-01-01 06:10:01.1", True, None),
        ],
    )
    def test_a_seam_is_as_coarse_as_leaves_a_quarter_on_each_side(
        self, sql: Sql, starts_at: str, ends_at: str, to_the_second: bool, seam: str | None
    ) -> None:
        query = "select historical_sync.seam_of(%s, %s, %s) = %s as found, historical_sync.seam_of(%s, %s, %s) as seam"
        arguments = [starts_at, ends_at, to_the_second]
        [row] = sql.execute(query, [*arguments, seam, *arguments]).fetchall()
        assert (row["found"], row["seam"] is None) == (None if seam is None else True, seam is None), row["seam"]

    @pytest.mark.parametrize(
        ("starts_at", "ends_at", "cuts"),
        [
            ("2026-01-01 00:00:00", "2026-01-01 00:00:02", True),
            ("2026-01-01 00:00:00", "2026-01-01 00:00:01.9", False),
            ("2026-01-01 00:00:00.5", "2026-01-01 00:00:01.5", True),
            (None, "2022-12-31", False),
            (None, "9999-12-31", True),
            ("9998-12-31", "9999-12-31", True),
            ("0001-01-01", "9999-12-31 23:59:59.999999", True),
        ],
    )
    def test_a_window_is_cut_where_a_whole_second_is_inside(
        self, lessee: Lessee, sql: Sql, starts_at: str | None, ends_at: str, cuts: bool
    ) -> None:
        sql.execute(f"{SET} date_from = %s, date_to = %s", [starts_at, ends_at])
        claim, window = lessee.take()
        halves = lessee.apply(TRANSITIONS["cut_window"], claim, window)
        assert len(halves) == (2 if cuts else 0)
        for half in halves:
            assert half.starts_at is None or half.starts_at < half.ends_at
            assert half.ends_at == window.ends_at or half.ends_at <= datetime.now(UTC) or starts_at == "9998-12-31"

    def test_the_same_page_again_counts_nothing(self, lessee: Lessee) -> None:
        claim, window = lessee.take()
        stored = [lessee.store(claim, window, calls_before(UNTIL, 5), "cursor=next") for _ in range(2)]
        assert [(page.imported, page.skipped, page.processed_calls) for page in stored] == [(5, 0, 5), (0, 0, 5)]

    def test_a_restarted_window_forgets_its_cursor_and_counts_nothing_twice(self, lessee: Lessee, sql: Sql) -> None:
        claim, window = lessee.take()
        lessee.apply(store_page, claim, window)
        lessee.apply(TRANSITIONS["restart_window"], claim, window)
        [row] = sql.execute("select cursor from historical_sync.windows").fetchall()
        again = lessee.apply(store_page, claim, window)
        assert (row["cursor"], again.imported, again.skipped, again.processed_calls) == (None, 0, 0, 3)


class TestPrivileges:
    @pytest.fixture
    def processor(self, database_url: str) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(login_url(database_url, "historical_sync_processor"), autocommit=True) as conn:
            yield conn

    @pytest.mark.parametrize("table", ["agencies", "users", "historical_sync_jobs", "calls"])
    def test_the_processor_reads_no_table(self, processor: psycopg.Connection[Any], table: str) -> None:
        for statement in (f"select from public.{table}", f"delete from public.{table}"):
            with pytest.raises(errors.InsufficientPrivilege):
                processor.execute(statement)

    def test_the_processor_executes_its_functions_and_no_other(self, processor: psycopg.Connection[Any]) -> None:
        rows = processor.execute(
            """
            select proname from pg_proc
            where pronamespace = 'historical_sync'::regnamespace and has_function_privilege(oid, 'execute')
            """
        )
        names = "claim_due_job heartbeat unfinished_windows cut_window restart_window commit_page forget_listed_calls"
        names += " plan_job compare_with_source"
        names += " claim_job split_window rewind_window store_page"  # for the release before
        names += " complete_job fail_job reschedule_job release_job count_ultravox_requests"
        names += " list_agencies start_job active_job"  # for operators, as the next ones
        names += " set_ultravox_key stored_ultravox_keys replace_ultravox_key"
        assert {name for (name,) in rows} == set(names.split())
        for relation in ("historical_sync.windows", "historical_sync.job"):
            with pytest.raises(errors.InsufficientPrivilege):
                processor.execute(f"select from {relation}")


def test_a_job_keeps_to_its_life_whatever_is_done_to_it(database: Database, sql: Sql) -> None:
    run_random_lives(database, sql)
