"""The stand-in over real sockets: what it promises to the tests that lean on it."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import pytest
import urllib3

from service.local.demo_calls import demo_calls
from service.local.standin import Fault, Faults, StandinServer
from tests.support.paths import ROOT
from tests.support.standin import KEY, OTHER_KEY, Client, call_at, client_of
from tests.support.waiting import LAST_RESORT_SECONDS, wait_until

UNTIL = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
CALLS = [call_at(f"2026-03-0{day}T12:00:00.000000Z", f"call-{day}") for day in range(1, 8)]


@pytest.fixture
def client() -> Iterator[Client]:
    with client_of(CALLS) as client:
        yield client


def test_demo_calls_are_the_same_for_the_same_seed_only() -> None:
    assert demo_calls(50, seed=1, until=UNTIL) == demo_calls(50, seed=1, until=UNTIL)
    assert demo_calls(50, seed=1, until=UNTIL) != demo_calls(50, seed=2, until=UNTIL)
    assert [len(demo_calls(count, seed=1, until=UNTIL, months=1)) for count in (0, 1, 5)] == [0, 1, 5]


def test_demo_calls_are_believable() -> None:
    calls = demo_calls(3000, seed=7, until=UNTIL)
    created = [datetime.fromisoformat(call["created"]) for call in calls]
    assert created == sorted(set(created))
    assert UNTIL - timedelta(days=120) <= created[0] < created[-1] <= UNTIL
    assert len({call["callId"] for call in calls}) == 3000
    assert 3 <= sum(call["ended"] is None for call in calls) < 20
    assert any(call["agent"] is None for call in calls)
    for call in calls:
        assert call["created"] <= (call["joined"] or "9") <= (call["ended"] or "9") or call["joined"] is None
        assert (call["ended"] is None) == (call["endReason"] is None) == (call["billedDuration"] is None)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", call["created"])


def test_the_demos_history_has_quiet_weekends_a_launch_week_and_calls_that_went_wrong() -> None:
    calls = demo_calls(4000, seed=7, until=UNTIL)
    days = Counter(datetime.fromisoformat(call["created"]).date() for call in calls)
    weekends = [count for day, count in days.items() if day.weekday() > 4]
    weekdays = [count for day, count in days.items() if day.weekday() < 5]
    assert 3 * max(median(weekends), 1) < median(weekdays)
    assert sum(count > 3 * median(weekdays) for count in weekdays) in range(4, 7)
    assert {"system_error", "connection_error"} < {call["endReason"] for call in calls}


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_or_missing_key_is_refused(client: Client, status: Any) -> None:
    client.server.faults.auth_status = status
    for headers in ({"X-API-Key": "wrong"}, {}, {"X-API-Key": ""}):
        answer = client.http.request("GET", client.server.url + "/api/calls", headers=headers)
        assert (answer.status, answer.json()) == (status, {"detail": "Invalid API key"})


@pytest.mark.parametrize(
    ("window", "days"),
    [
        ({"fromDate": "2026-03-03T12:00:00.000000Z"}, "34567"),
        ({"fromDate": "2026-03-03T12:00:00.000001Z"}, "4567"),
        ({"toDate": "2026-03-03T12:00:00Z"}, "123"),
        ({"toDate": "2026-03-03T11:59:59.999999Z"}, "12"),
        ({"fromDate": "2026-03-03", "toDate": "2026-03-03"}, "3"),
        ({"fromDate": "2026-03-03T14:00:00+02:00", "toDate": "2026-03-03T12:00:00"}, "3"),
        ({"fromDate": "2026-03-06", "toDate": "2026-03-02"}, ""),
        ({"fromDate": "", "toDate": ""}, "1234567"),
    ],
)
def test_both_ends_of_a_window_are_inclusive(client: Client, window: dict[str, str], days: str) -> None:
    for sort in ("created", "-created"):
        page = client.page(sort=sort, **window)
        assert sorted(call["callId"] for call in page["results"]) == [f"call-{day}" for day in days]
        assert page["total"] == len(days)


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-03-01T25:00:00Z"])
@pytest.mark.parametrize("name", ["fromDate", "toDate"])
def test_a_malformed_date_is_named(client: Client, name: str, text: str) -> None:
    answer = client.get(**{name: text})
    assert (answer.status, list(answer.json())) == (400, [name])


def test_the_default_order_is_newest_first_and_an_unknown_one_shows(client: Client) -> None:
    assert client.ids() == client.ids(sort="-created") == client.ids(sort="created")[::-1]
    assert client.get(sort="joined").status == 400


def test_a_list_that_ignores_the_sort_starts_with_the_oldest(client: Client) -> None:
    client.server.faults.ignore_sort = True
    seen = [call["callId"] for page in client.pages(sort="-created", pageSize="2") for call in page["results"]]
    assert seen == [call["callId"] for call in CALLS]


@pytest.mark.parametrize("sort", ["created", "-created"])
@pytest.mark.parametrize("size", ["1", "2", "7", "8"])
def test_every_call_comes_exactly_once(client: Client, sort: str, size: str) -> None:
    client.server.put_call(KEY, {**CALLS[3], "callId": "of the same microsecond"})
    pages = list(client.pages(sort=sort, pageSize=size))
    assert [call["callId"] for page in pages for call in page["results"]] == client.ids(sort=sort)
    assert {page["total"] for page in pages} == {len(client.ids())} == {8}


@pytest.mark.parametrize("sort", ["created", "-created"])
def test_calls_that_come_and_go_meanwhile_move_no_cursor(client: Client, sort: str) -> None:
    seen = []
    for number, page in enumerate(client.pages(sort=sort, pageSize="2")):
        seen += [call["callId"] for call in page["results"]]
        if number < 3:
            client.server.put_call(KEY, call_at("2026-03-01T00:00:00Z", f"older-{number}"))
            client.server.put_call(KEY, call_at("2026-03-09T00:00:00Z", f"newer-{number}"))
        if number == 1:
            client.server.delete_call(KEY, seen[-1])  # the very call the cursor stands on
    assert sorted(one for one in seen if one.startswith("call-")) == [f"call-{day}" for day in range(1, 8)]
    assert max(Counter(seen).values()) == 1


def test_a_malformed_cursor_is_not_found(client: Client) -> None:
    assert {client.get(cursor=cursor).status for cursor in ("x", "!!", "bm90IGpzb24=", "WzEsMl0=", "ü", "AAAA")} == {
        404
    }


def test_a_bad_page_size_is_ignored_and_a_large_one_cut(client: Client) -> None:
    assert [len(client.ids(pageSize=size)) for size in ("0", "-1", "many", "", "1.5")] == [7] * 5
    client.server.faults.max_page_size = 3
    assert len(client.ids(pageSize="1000")) == 3


def test_one_call_is_found_by_its_id_or_not_at_all(client: Client) -> None:
    assert client.page("/api/calls/call-3") == CALLS[2]
    assert [client.get(path).status for path in ("/api/calls/none", "/api/other")] == [404, 404]
    assert client.get("/api/calls/call-3", key=OTHER_KEY).status == 404


def test_a_call_put_again_replaces_the_earlier_one_and_a_deleted_one_is_gone(client: Client) -> None:
    text = "nul \x00, half \ud83d, whole 👋"
    client.server.put_call(KEY, call_at("2026-04-01T00:00:00Z", "call-1", summary=text))
    client.server.delete_call(KEY, "call-3")
    assert client.ids() == ["call-1", "call-7", "call-6", "call-5", "call-4", "call-2"]
    assert client.page("/api/calls/call-1")["summary"] == text
    with pytest.raises(KeyError):
        client.server.delete_call(KEY, "call-3")


def test_planned_faults_come_in_turn_and_then_end(client: Client) -> None:
    when = "Wed, 21 Oct 2026 07:28:00 GMT"
    client.server.faults.queue += [Fault(status=429, retry_after="2", times=2, after=1)]
    client.server.faults.queue += [Fault(status=503, retry_after=when, body="", after=1), Fault("garbage", after=1)]
    answers = [client.get() for _ in range(6)]
    assert [answer.status for answer in answers] == [200, 429, 429, 503, 200, 200]
    assert [answer.headers.get("Retry-After") for answer in answers] == [None, "2", "2", when, None, None]
    assert (answers[3].data, answers[4].data[:6]) == (b"", b"<html>")
    assert client.server.faults.queue == []


@pytest.mark.parametrize(("kind", "told"), [("half_body", "IncompleteRead"), ("drop", "without response")])
def test_an_answer_cut_off_ends_the_connection_but_not_the_server(client: Client, kind: Any, told: str) -> None:
    client.server.faults.queue.append(Fault(kind))
    with pytest.raises(urllib3.exceptions.ProtocolError, match=told):
        client.get()
    assert len(client.ids()) == 7
    assert client.server.stats.by_status == {kind: 1, "200": 1}


def test_faults_by_chance_repeat_with_their_seed(client: Client) -> None:
    runs = []
    for _ in range(2):
        client.server.faults = Faults([Fault(times=None, probability=0.3)], seed=4)
        runs.append([client.get().status for _ in range(60)])
    assert runs[0] == runs[1]
    assert 5 < runs[0].count(500) < 35


@pytest.mark.parametrize("sort", ["created", "-created"])
def test_unlisted_calls_are_on_no_page_and_in_no_total_but_can_be_read_and_are_counted(
    client: Client, sort: str
) -> None:
    client.server.faults.unlisted = ["call-1", "call-4", "call-5", "of no call"]
    pages = list(client.pages(sort=sort, pageSize="2"))
    seen = [call["callId"] for page in pages for call in page["results"]]
    assert sorted(seen) == ["call-2", "call-3", "call-6", "call-7"]
    assert [page["total"] for page in pages] == [4, 4]
    assert client.page("/api/calls/call-4") == CALLS[3]
    assert client.page("/api/accounts/me/usage/calls")["allTime"]["totalCount"] == 7
    client.server.faults.unlisted = []
    assert len(client.ids()) == 7


def test_an_endless_list_never_runs_out_of_next(client: Client) -> None:
    client.server.faults.endless = True
    for sort in ("created", "-created"):
        pages = client.pages(pageSize="3", sort=sort)
        seen = [call["callId"] for _ in range(6) for call in next(pages)["results"]]
        assert seen == client.ids(sort=sort) * 2


def test_a_cursor_expires_after_its_requests(client: Client) -> None:
    client.server.faults.cursor_ttl = 1
    url = client.page(pageSize="2")["next"]
    assert [client.get(url).status for _ in range(2)] == [200, 404]


@pytest.mark.parametrize(
    ("form", "start", "end"),
    [
        ("absolute", "http://", {"next": None}),
        ("relative", "/api/calls?", {"next": None}),
        ("empty_string_at_end", "http://", {"next": ""}),
        ("missing_at_end", "http://", {}),
    ],
)
def test_next_takes_the_chosen_form(client: Client, form: Any, start: str, end: dict[str, Any]) -> None:
    client.server.faults.next_form = form
    first, last = client.pages(pageSize="4")
    assert first["next"].startswith(start)
    assert {name: last[name] for name in last if name == "next"} == end
    client.server.faults.max_page_size = 2
    client.server.faults.foreign_next = "http://127.0.0.1:1"
    assert client.page(search="&")["next"].startswith("http://127.0.0.1:1/api/calls?search=%26&cursor=")


@pytest.mark.parametrize(("form", "total"), [("exact", {"total": 7}), ("zero", {"total": 0}), ("missing", {})])
def test_total_takes_the_chosen_form(client: Client, form: Any, total: dict[str, int]) -> None:
    client.server.faults.total = form
    assert {name: value for name, value in client.page().items() if name == "total"} == total


def test_each_key_has_its_own_rate_limit(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("service.local.standin.faults.monotonic", lambda: now)
    client.server.faults.rate_limit_per_second = 3
    answers = [client.get() for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].headers["Retry-After"] == "1"
    assert client.get(key=OTHER_KEY).status == 200
    now += 1.0
    assert client.get().status == 200


def test_faults_are_replaced_shown_and_reset_over_http(client: Client) -> None:
    assert client.control("faults", {"queue": [{"status": 503, "times": 2}], "total": "zero"}) == 200
    assert client.get().status == 503
    shown = client.page("/_standin/faults")
    assert (shown["queue"][0]["times"], shown["total"], shown["endless"]) == (1, "zero", False)
    assert client.control("reset", None) == 200
    assert client.page()["total"] == 7
    assert client.page("/_standin/stats")["requests"] == 1


@pytest.mark.parametrize("wrong", [{"totl": "zero"}, {"total": "none"}, {"endless": 1}, {"queue": [{"kind": "x"}]}, []])
def test_a_slip_in_the_faults_changes_nothing(client: Client, wrong: object) -> None:
    client.server.faults.total = "missing"
    assert client.control("faults", wrong) == 400
    assert client.server.faults.total == "missing"


def test_requests_side_by_side_are_counted_on_kept_alive_connections(client: Client) -> None:
    client.server.faults.latency_seconds = 0.2
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: len(client.ids()), range(8))) == [7] * 8
    client.get(key="wrong")
    counts = {"requests": 9, "by_status": {"200": 8, "403": 1}, "in_flight": 0, "max_in_flight": 4}
    assert client.page("/_standin/stats") == {**counts, "calls_served": 56, "histograms": 0}
    pool = client.http.connection_from_url(client.server.url)
    assert isinstance(pool, urllib3.HTTPConnectionPool)
    assert pool.num_connections == 4


def test_it_stops_at_once_even_with_a_request_open(client: Client) -> None:
    with ThreadPoolExecutor(1) as threads:
        with StandinServer({KEY: CALLS}) as server:
            server.faults.latency_seconds = 60
            waiting = threads.submit(Client(server, client.http).get)
            wait_until(lambda: server.stats.in_flight)
        assert isinstance(waiting.exception(LAST_RESORT_SECONDS), urllib3.exceptions.ProtocolError)


def start(*options: str, **environment: str) -> subprocess.Popen[str]:
    clean = {name: text for name, text in os.environ.items() if name != "ULTRAVOX_API_KEY"}
    command = [sys.executable, "-m", "service.local.standin", *options]
    root = ROOT
    return subprocess.Popen(command, env={**clean, **environment}, cwd=root, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_it_is_told_to_stop(client: Client, number: signal.Signals) -> None:
    with start("--port", "0", "--calls", "120", ULTRAVOX_API_KEY=KEY) as process:
        assert process.stderr is not None
        assert client.page(process.stderr.readline().split()[-1] + "/api/calls")["total"] == 120
        process.send_signal(number)
        assert process.wait(LAST_RESORT_SECONDS) == 0
        assert process.stderr.read() == ""
