"""The way of a window, from the stand-in API into a real database: nothing lost, nothing twice."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.local.standin import Fault, Faults
from service.processor import page_fetcher
from service.processor.errors import JobFailedError, RetryableError, StopRequested
from tests.support.importing import FROM, KEY, TO, Import, call_at, calls
from tests.support.processing import LEASE


def test_all_calls_of_a_window_come_exactly_once_newest_first(job: Import) -> None:
    job.put(*calls(10, at_once=4))
    pages = job.run()
    assert list(job.rows()) == [f"call-{i:03}" for i in range(10)]
    assert [page.imported for page in pages] == [3, 3, 3, 1]
    assert job.counts() == (10, 10, 0, 0)
    assert {page.total_calls for page in pages} == {10}


@pytest.mark.parametrize(
    ("form", "total"),
    [("absolute", "zero"), ("relative", "exact"), ("empty_string_at_end", "missing"), ("missing_at_end", "zero")],
)
@pytest.mark.parametrize("oldest_first", [False, True])
def test_only_next_tells_the_end_whatever_else_the_api_says(
    job: Import, form: Any, total: Any, oldest_first: bool
) -> None:
    job.put(*calls(7))
    job.server.faults = Faults(max_page_size=3, next_form=form, total=total, ignore_sort=oldest_first)
    job.run()
    assert (len(job.rows()), job.counts()) == (7, (7, 7, 0, 0))


@pytest.mark.parametrize("date_from", [None, FROM])
def test_an_empty_range_is_one_page(job: Import, date_from: datetime | None) -> None:
    job.put(call_at(TO + timedelta(days=1), "later"))
    [page] = job.run(date_from=date_from)
    assert (page.total_calls, job.counts()) == (0, (0, 0, 0, 0))


@pytest.mark.parametrize("odd", [["a"], {"a": 1}, 5])
def test_an_id_that_is_no_text_stops_no_window(job: Import, odd: object) -> None:
    job.put(*calls(7), call_at(TO - LEASE, "odd"))
    rows = job.server._accounts[KEY].rows
    rows["odd"] = rows["odd"]._replace(body=rows["odd"].body.replace(b'"odd"', json.dumps(odd).encode()))
    job.run()
    assert {f"call-{i:03}" for i in range(7)} <= set(job.rows())


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_forgotten_cursors_lose_no_call_and_count_none_twice(job: Import, at_once: int) -> None:
    job.put(*calls(10, at_once=at_once))
    job.server.faults = Faults(max_page_size=4, cursor_ttl=0)
    with capture_logs() as logs:
        job.run()
    assert (len(job.rows()), job.counts()) == (10, (10, 10, 0, 0))
    assert {"cursor_forgotten"} == {line["event"] for line in logs}


def test_a_forgotten_cursor_does_not_count_a_malformed_call_again(job: Import) -> None:
    job.put(*calls(4), {"callId": "bad", "created": "20260301T000330"})
    job.server.faults = Faults(max_page_size=3, cursor_ttl=0)
    job.put({"callId": "bad too", "created": "20260301T000030"})
    job.run()
    assert (len(job.rows()), job.counts()) == (4, (6, 4, 0, 2))


def test_oldest_first_is_imported_too(job: Import) -> None:
    job.put(*calls(10))
    job.server.faults = Faults(max_page_size=3, ignore_sort=True)
    job.run()
    assert (len(job.rows()), job.counts()) == (10, (10, 10, 0, 0))


@pytest.mark.parametrize(("page_size", "at_once"), [(1, 1), (7, 7), (5, 2)])
def test_pages_that_get_newer_lose_no_call(job: Import, page_size: int, at_once: int) -> None:
    job.put(*calls(35, at_once=at_once))
    job.server.faults = Faults(max_page_size=page_size, ignore_sort=True)
    job.run()
    assert (len(job.rows()), job.counts()) == (35, (35, 35, 0, 0))


ENDLESS = {
    "next starts again": (7, Faults(max_page_size=3, endless=True)),
    "a page of its own": (2, Faults(endless=True)),
    "no call at all": (0, Faults(endless=True)),
    "oldest first": (7, Faults(max_page_size=3, endless=True, ignore_sort=True)),
    "no cursor out of one instant": (99, Faults(max_page_size=3, cursor_ttl=0)),
}


@pytest.mark.parametrize(("count", "faults"), ENDLESS.values(), ids=ENDLESS)
def test_an_endless_api_is_given_up(job: Import, count: int, faults: Faults) -> None:
    job.put(*calls(count, at_once=99))
    job.server.faults = faults
    claim = job.claim(date_from=None)
    with pytest.raises(JobFailedError, match="without new calls"):
        job.work(claim)
    assert job.server.stats.requests < 250


@pytest.mark.parametrize(
    "fault",
    [
        *(
            Fault(status=status, retry_after=after)
            for status, after in ((429, None), (429, "0"), (500, None), (503, "x"))
        ),
        *(Fault(kind) for kind in ("half_body", "drop", "garbage")),
    ],
    ids=lambda fault: f"{fault.kind} {fault.status} {fault.retry_after}",
)
def test_what_passes_is_tried_again_on_the_spot(job: Import, fault: Fault) -> None:
    job.put(*calls(7))
    job.server.faults.queue.append(Fault(**{**vars(fault), "after": 1}))
    job.run()
    assert (len(job.rows()), job.counts(), job.server.stats.requests) == (7, (7, 7, 0, 0), 4)


@pytest.mark.parametrize(("status", "retry_after", "tries"), [(429, "3600", 1), (503, "11", 1), (500, None, 6)])
def test_what_lasts_gives_the_job_back_with_the_pause_asked_for(
    job: Import, status: int, retry_after: str | None, tries: int
) -> None:
    job.put(*calls(7))
    job.server.faults.queue.append(Fault(status=status, retry_after=retry_after, times=None, after=1))
    claim = job.claim()
    with pytest.raises(RetryableError, match=str(status)) as caught:
        job.work(claim)
    assert caught.value.retry_after == (retry_after and float(retry_after))
    assert (job.counts(), job.server.stats.requests) == ((3, 3, 0, 0), 1 + tries)
    job.server.faults.queue.clear()
    assert sum(page.imported for page in job.work(claim)) == 4


def test_a_wrong_key_is_not_tried_again(job: Import) -> None:
    job.server.faults.queue.append(Fault(status=403, times=None))
    claim = job.claim()
    with pytest.raises(JobFailedError, match="API key"):
        job.work(claim)
    assert job.server.stats.requests == 1


def test_a_stop_between_pages_ends_quietly_and_the_next_claim_goes_on(job: Import) -> None:
    job.put(*calls(7))
    claim = job.claim()
    job.stopped = lambda: job.counts() != (0, 0, 0, 0)
    assert [page.processed_calls for page in job.work(claim)] == [3]
    job.stopped = lambda: False
    assert [page.processed_calls for page in job.work(claim)] == [6, 7]
    assert job.server.stats.requests == 3


def test_a_stop_ends_a_wait(job: Import) -> None:
    claim = job.claim()
    job.server.faults.queue.append(Fault(status=429, retry_after="9"))
    job.stopped = lambda: job.server.stats.requests > 0
    with pytest.raises(StopRequested):
        job.work(claim)


def test_a_page_of_too_many_bytes_is_asked_for_in_smaller_ones_for_the_rest_of_the_job(
    job: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_fetcher, "HANDY_ANSWER", 5_000)
    job.server.faults = Faults(max_page_size=100)
    job.put(*({**call, "summary": "x" * 1_000} for call in calls(20)))
    job.run()
    assert (len(job.rows()), job.counts()) == (20, (20, 20, 0, 0))
    # 100, 50, 25, 12, 6 and then pages of 3.
    assert job.server.stats.requests == 5 + 7


def test_a_single_call_may_have_more_bytes_than_a_page(job: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_fetcher, "HANDY_ANSWER", 500)
    job.put(*calls(2), call_at(FROM, "large", summary="x" * 1_000))
    job.run()
    assert job.counts() == (3, 3, 0, 0)
