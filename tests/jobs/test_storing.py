"""What becomes of a page in a real database: every call once, and none that harms the others."""

import json
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.errors import LeaseLostError
from service.jobs import leases
from service.jobs.leases import Stored
from service.local.demo_calls import Call
from service.local.standin import Faults
from service.processor import call_page, page_fetcher, ultravox, window_importer
from tests.support.database import Sql
from tests.support.importing import FROM, KEY, TO, Import, call_at, calls
from tests.support.processing import LEASE


def test_a_call_on_a_seam_belongs_to_the_range_that_begins_there(job: Import) -> None:
    tick = timedelta(microseconds=1)
    for name, bound in (("from", FROM), ("to", TO)):
        job.put(*(call_at(bound + n * tick, f"{name}{n:+}") for n in (-1, 0, 1)))
    job.run()
    assert sorted(job.rows()) == ["from+0", "from+1", "to-1"]
    job.run(date_from=TO, date_to=TO + timedelta(days=1))
    assert job.counts() == (2, 2, 0, 0)
    job.run(date_from=None, date_to=FROM)
    assert job.counts() == (1, 1, 0, 0)
    assert len(job.rows()) == 6


def test_the_halves_of_a_window_share_no_call(job: Import) -> None:
    claim = job.claim()
    [whole] = job.windows(claim)
    with job.database.connection() as conn:
        newer, older = leases.cut_window(conn, claim, whole.id, to_the_second=True)
    assert newer.starts_at == older.ends_at
    assert (older.starts_at, newer.ends_at) == (FROM, TO)
    job.put(*calls(4), *(call_at(older.ends_at, f"seam-{n}") for n in range(4)), call_at(TO - LEASE, "last"))
    job.work(claim)
    assert (len(job.rows()), job.counts()) == (9, (9, 9, 0, 0))


def test_a_call_again_is_skipped_when_it_is_the_same_and_imported_when_it_changed(job: Import) -> None:
    job.put(*calls(4))
    job.run()
    before = job.rows()
    job.put({**calls(4)[1], "summary": "now billed", "billingStatus": "BILLED", "billedDuration": "93.5s"})
    job.run()
    assert job.counts() == (4, 1, 3, 0)
    after = job.rows()
    assert [name for name in after if after[name] != before[name]] == ["call-001"]
    assert (after["call-001"]["summary"], float(after["call-001"]["billed_seconds"])) == ("now billed", 93.5)


def test_what_nobody_knows_yet_is_kept_and_a_running_call_has_no_end(job: Import) -> None:
    odd = call_at(
        FROM, "odd", ended=None, endReason="brand_new", newField={"deep": [1, None, "ü"]}, agent=None, medium={}
    )
    job.put({**odd, "joined": "soon", "metadata": "text", "billedDuration": "long"})
    job.run()
    [row] = job.rows().values()
    assert row["data"] == {**odd, "joined": "soon", "metadata": "text", "billedDuration": "long"}
    assert (row["ended_at"], row["joined_at"], row["end_reason"], row["duration_seconds"]) == (
        None,
        None,
        "brand_new",
        None,
    )
    job.put({**odd, "joined": "2026-03-01T00:00:01Z", "ended": "2026-03-01T00:01:00.5Z"})
    job.run()
    assert float(job.rows()["odd"]["duration_seconds"]) == 59.5


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("a\x00b\x00", "a\ufffdb\ufffd"),
        ("\\\x00", "\\\ufffd"),
        ("half \ud83d, \udc4b", "half \ufffd, \ufffd"),
        ("whole 👋", "whole 👋"),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_what_postgres_refuses_is_replaced_and_the_call_stored(job: Import, told: object, kept: object) -> None:
    job.put(*calls(5), call_at(FROM, "odd", summary=told, metadata={"k": told}))
    job.run()
    assert job.counts() == (6, 6, 0, 0)
    odd = job.rows()["odd"]
    assert (odd["summary"], odd["metadata"]) == (kept, {"k": kept})


DEEP_BUT_STORABLE, TOO_DEEP = ("[" * depth + "]" * depth for depth in (1100, 100_000))
ODD_CALLS = {
    "created before Christ in UTC": ('"created": "0001-01-01T00:00:00+14:00"', (1, 0)),
    "nested 1,100 levels deep": (f'"created": "2026-03-01T00:00:00Z", "x": {DEEP_BUT_STORABLE}', (1, 0)),
    "nested too deeply": (f'"created": "2026-03-01T00:00:00Z", "x": {TOO_DEEP}', (0, 1)),
    "a raw control character": ('"created": "2026-03-01T00:00:00Z", "x": "a\x01\nb"', (1, 0)),
    "no JSON": ('"created": "2026-03-01T00:00:00Z", "x": 01', (0, 1)),
    "a day that no month has": ('"created": "2026-02-30T00:00:00Z"', (0, 1)),
    "a day that this year has not": ('"created": "2026-02-29T00:00:00Z"', (0, 1)),
    "an offset that no place has": ('"created": "2026-03-01T00:00:00+99:00"', (0, 1)),
    "a number of 5,000 digits": (f'"created": "2026-03-01T00:00:00Z", "x": {"7" * 5000}', (1, 0)),
    "a number of 200,000 digits": (f'"created": "2026-03-01T00:00:00Z", "x": {"7" * 200_000}', (1, 0)),
    "times finer than any clock": (
        f'"created": "2026-03-01T00:00:00.{"9" * 200}Z", "ended": "2026-03-01T00:00:01.{"0" * 200}Z"',
        (1, 0),
    ),
    "a number too large": (f'"created": "2026-03-01T00:00:00Z", "x": 1e{"9" * 9}', (1, 0)),
    "a year too late": ('"created": "9999-12-31T23:59:59-14:00"', (0, 0)),
}


@pytest.fixture
def trigger(sql: Sql) -> Iterator[Callable[[str], None]]:
    """Give the table calls a trigger of the project's own, with this body, for the test."""

    def create(body: str) -> None:
        sql.execute("create table public.call_log (call_id text)")
        sql.execute(
            f"""
            create function public.on_call() returns trigger language plpgsql as $$ begin {body} end $$;
            create trigger on_call before insert on public.calls for each row execute function public.on_call();
            """
        )

    yield create
    sql.execute("drop function if exists public.on_call() cascade; drop table if exists public.call_log")


def test_a_trigger_of_the_project_finds_the_tables_that_it_names_without_a_schema(
    job: Import, trigger: Callable[[str], None]
) -> None:
    trigger("insert into call_log values (new.ultravox_call_id); return new;")
    job.put(*calls(4))
    job.run()
    assert job.counts() == (4, 4, 0, 0)
    assert job.sql.execute("select from public.call_log").rowcount == 4


@pytest.mark.parametrize(
    ("errcode", "rule"), [("P0001", "trigger"), ("PT409", "trigger"), ("P0002", "trigger"), ("23514", "constraint")]
)
def test_a_call_that_a_trigger_refuses_however_is_counted_with_the_reason_and_the_rest_goes_on(
    job: Import, trigger: Callable[[str], None], errcode: str, rule: str
) -> None:
    trigger(
        f"if new.ultravox_call_id = 'call-003' then raise exception 'no' using errcode = '{errcode}'; end if;"
        " return new;"
    )
    job.put(*calls(7))
    job.run()
    assert job.counts() == (7, 6, 0, 1)
    assert "call-003" not in job.rows()
    [failed] = job.sql.execute("select failure from historical_sync.listed_calls where failure is not null").fetchall()
    assert failed["failure"].endswith(f"a rule of the database: a {rule} of the table calls.")


def test_a_call_that_a_trigger_keeps_out_silently_does_not_pass_for_one_that_was_there(
    job: Import, trigger: Callable[[str], None]
) -> None:
    trigger("if new.ultravox_call_id = 'call-003' then return null; end if; return new;")
    job.put(*calls(7))
    job.run()
    assert job.counts() == (7, 6, 0, 1)


def test_an_id_inside_of_a_call_is_not_the_calls(job: Import) -> None:
    nested = {"metadata": {"callId": "good"}, "callId": "bad", "created": "2026-02-29T00:00:00Z"}
    page = job.store(job.claim(date_from=None), [call_at(FROM, "good"), nested])
    assert (page.imported, page.failed_call_ids) == (1, ["bad"])


def test_calls_with_an_empty_id_have_none(job: Import) -> None:
    page = job.store(job.claim(), [call_at(FROM, "", n=number) for number in range(3)])
    assert (page.imported, len(page.failed_call_ids), job.ids()) == (0, 3, [])


def test_an_instant_finer_than_postgres_keeps_is_not_rounded_out_of_the_range(job: Import) -> None:
    last = {"callId": "last", "created": (TO - timedelta(seconds=1)).isoformat()[:19] + ".9999999Z"}
    assert job.store(job.claim(), [last]).imported == 1


def test_of_one_id_listed_twice_the_call_in_the_range_counts(job: Import) -> None:
    page = job.store(job.claim(), [call_at(TO + LEASE, "moved"), call_at(FROM, "moved")])
    assert (page.imported, job.ids()) == (1, ["moved"])


def test_long_ids_that_begin_alike_are_different_calls(job: Import) -> None:
    long_id = LONG_ID[:1500]
    page = job.store(job.claim(), [call_at(FROM, long_id + "a"), call_at(FROM, long_id + "b")])
    assert (page.imported, len(job.ids())) == (2, 2)


@pytest.mark.parametrize(("fields", "counts"), ODD_CALLS.values(), ids=ODD_CALLS)
def test_one_odd_call_does_not_spoil_its_page(job: Import, fields: str, counts: tuple[int, int]) -> None:
    job.put(*calls(5), call_at(FROM, "odd"))
    rows = job.server._accounts[KEY].rows
    rows["odd"] = rows["odd"]._replace(body=f'{{"callId": "odd", {fields}}}'.encode())
    imported, failed = counts
    with capture_logs() as logs:
        job.run(date_from=None)
    assert job.counts() == (5 + imported + failed, 5 + imported, 0, failed)
    assert job.ids() == [*(f"call-{i:03}" for i in range(5)), *["odd"] * imported]
    failures = job.sql.execute("select call_id, failure from historical_sync.listed_calls where failure is not null")
    assert [(row["call_id"], row["failure"].startswith("The call ")) for row in failures] == [("odd", True)] * failed
    assert [line["event"] for line in logs].count("calls_not_stored") == failed


LONG_ID = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=5000))
UNSTORABLE: dict[str, tuple[Call, str]] = {
    "no callId": ({"callId": None, "created": "2026-03-01T00:02:30Z"}, "unknown 12c42576e8a915aafb80442135abe16a"),
    "a malformed created": ({"callId": "bad", "created": "20260301T000230"}, "bad"),
    "an id too long for an index": (call_at(FROM + timedelta(seconds=150), LONG_ID), LONG_ID[:100]),
    "times too far apart": (
        call_at(FROM, "bad", joined="0001-01-01T00:00:00Z", billedDuration=f"{'9' * 140_000}s"),
        "bad",
    ),
}


@pytest.mark.parametrize(("bad", "told"), UNSTORABLE.values(), ids=UNSTORABLE)
def test_a_call_that_cannot_be_stored_is_counted_and_logged_and_the_rest_goes_on(
    job: Import, bad: Call, told: str
) -> None:
    job.put(*calls(7), bad)
    with capture_logs() as logs:
        job.run()
    assert list(job.rows()) == [f"call-{i:03}" for i in range(7)]
    assert job.counts() == (8, 7, 0, 1)
    [line] = [line for line in logs if line["event"] == "calls_not_stored"]
    assert (line["call_ids"], line["job_id"], line["log_level"]) == ([told], str(job.job_id), "warning")


@pytest.mark.parametrize("twins", [2, 1, 0])
def test_a_call_listed_beside_a_malformed_twin_is_stored_once(job: Import, twins: int) -> None:
    good = call_at(FROM, "twin")
    listed = [good, {"callId": "twin"}, {"callId": "twin", "created": "soon"}]
    page = job.store(job.claim(), listed[twins:] + listed[:twins])
    assert (list(job.rows()), page.imported, page.skipped) == (["twin"], 1, 0)


def test_a_failed_id_does_not_uncount_the_call_named_like_its_beginning(job: Import) -> None:
    page = job.store(job.claim(), [call_at(FROM, LONG_ID), call_at(FROM, LONG_ID[:100])])
    assert (page.imported, page.skipped, page.failed_call_ids) == (1, 0, [LONG_ID[:100]])


def test_what_was_fetched_later_is_not_overwritten(job: Import) -> None:
    job.put(*calls(2))
    job.run()
    hooked = {**calls(2)[0], "summary": "from the webhook"}
    job.sql.execute(
        "update calls set data = %s, summary = 'new', source = 'webhook', fetched_at = now() + interval '1 hour'"
        " where ultravox_call_id = 'call-000'",
        [json.dumps(hooked)],
    )
    before = job.rows()
    job.run()
    assert (job.rows(), job.counts()) == (before, (2, 0, 2, 0))


@pytest.mark.parametrize("clock", [timedelta(hours=-3), timedelta(hours=3)])
def test_the_clock_of_the_processors_machine_decides_nothing(
    job: Import, clock: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OtherTime(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + clock

    for module in (ultravox, call_page, page_fetcher, window_importer, leases):
        if hasattr(module, "datetime"):
            monkeypatch.setattr(module, "datetime", OtherTime)
    job.put(*calls(2))
    job.run()
    [now] = job.sql.execute("select now()").fetchall()
    for row in job.rows().values():
        assert now["now"] - LEASE < row["fetched_at"] <= now["now"]
    monkeypatch.undo()
    job.put({**calls(2)[0], "summary": "newer"})
    job.run()
    assert (job.counts(), job.rows()["call-000"]["summary"]) == ((2, 1, 1, 0), "newer")


REPEATED: dict[str, list[Any]] = {
    "newest first": calls(3)[::-1],
    "oldest first": calls(3),
    "one instant": calls(3, at_once=3),
    "with malformed calls": [*calls(2)[::-1], {"callId": "bad"}, {"created": "soon"}, None, 5, "x", []],
    "with one too long": [*calls(2)[::-1], call_at(FROM, LONG_ID)],
}


@pytest.mark.parametrize("results", REPEATED.values(), ids=REPEATED)
@pytest.mark.parametrize("before", [False, True])
def test_a_page_stored_again_after_a_lost_answer_counts_nothing_twice(
    job: Import, results: list[Any], before: bool
) -> None:
    claim = job.claim()
    if before:
        job.store(claim, [call_at(TO - LEASE, "newer")], "cursor=b")
    job.store(claim, results)
    counts = job.counts()
    again = job.store(claim, results)
    assert job.counts() == counts
    assert (again.imported, again.skipped, again.failed_call_ids) == (0, 0, [])


LOST = {
    "cancelled": "status = 'cancelled', lease_expires_at = null",
    "run out": "lease_expires_at = now()",
    "claimed by another": "fencing_token = fencing_token + 1",
}


@pytest.mark.parametrize("change", LOST.values(), ids=LOST)
def test_a_lost_lease_stores_nothing(job: Import, change: str) -> None:
    job.put(*calls(7))
    claim = job.claim()
    kept: list[Any] = []

    def lose_the_lease(_: Stored) -> None:
        job.sql.execute(f"update historical_sync_jobs set {change}")
        kept.extend(job.sql.execute("select * from historical_sync.windows").fetchall())

    with pytest.raises(LeaseLostError):
        job.work(claim, lose_the_lease)
    [window] = kept
    for transition in (leases.restart_window, partial(leases.cut_window, to_the_second=True)):
        with pytest.raises(LeaseLostError), job.database.connection() as conn:
            transition(conn, claim, window["id"])
    assert (len(job.rows()), job.counts()) == (3, (3, 3, 0, 0))
    assert job.sql.execute("select * from historical_sync.windows").fetchall() == [window]


@pytest.mark.parametrize("deletion", ["delete from public.agencies", "truncate public.agencies cascade"])
def test_what_a_job_was_given_is_forgotten_with_the_job(job: Import, deletion: str) -> None:
    job.put(*calls(4))
    job.run()
    assert job.sql.execute("select from historical_sync.listed_calls").rowcount == 4
    job.sql.execute(deletion)
    assert job.sql.execute("select from historical_sync.listed_calls").rowcount == 0


def test_a_page_with_one_odd_instant_keeps_the_sound_ones(job: Import) -> None:
    job.put(*({**call, "joined": call["created"]} for call in calls(3)), call_at(FROM, "odd", joined="soon"))
    job.server.faults = Faults(max_page_size=10)
    job.run()
    assert [row["joined_at"] == row["created_at"] for row in job.rows().values()] == [True, True, True, False]
    assert job.rows()["odd"]["joined_at"] is None
