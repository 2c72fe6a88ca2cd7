"""The stand-in's histogram over real sockets: what it counts, and the ways in which it can be wrong."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import urllib3

from service.local.standin import Fault, StandinServer
from tests.support.standin import KEY, OTHER_KEY, Client, call_at, client_of
from tests.support.waiting import LAST_RESORT_SECONDS, wait_until

PATH = "/api/accounts/me/usage/calls"


def ended_call(created: str, minute: str, seconds: int, reason: str, billed: str) -> dict[str, object]:
    """A call that was joined in the first second of this minute."""
    course = {"joined": f"{minute}:00.000000Z", "ended": f"{minute}:{seconds:02}.000000Z"}
    return call_at(created, **course, endReason=reason, billedDuration=billed)


CALLS = [
    ended_call("2026-03-01T12:00:00.000000Z", "2026-03-01T12:00", 33, "hangup", "36s"),
    ended_call("2026-03-01T12:59:59.999999Z", "2026-03-01T13:00", 20, "system_error", "6.5s"),
    ended_call("2026-03-01T13:00:00.000000Z", "2026-03-01T13:00", 50, "connection_error", "0s"),
    call_at("2026-03-02T23:30:00.000000Z", joined=None, ended="2026-03-02T23:30:30.000000Z", endReason="unjoined"),
    call_at("2026-03-05T00:30:00.000000Z"),
]


@pytest.fixture
def client() -> Iterator[Client]:
    with client_of(CALLS) as client:
        yield client


def counted(answer: dict[str, Any]) -> dict[str, int]:
    """The calls of each hour."""
    return {f"{hour['date']} {hour['hour']:02}": hour["totalCount"] for hour in answer["hourly"]}


def days(answer: dict[str, Any]) -> dict[str, int]:
    return {day["date"]: day["totalCount"] for day in answer["daily"]}


def statistics(total: int, errors: int, duration: str, joined: int, billed_minutes: float) -> dict[str, object]:
    names = ("totalCount", "errorCount", "duration", "joinedCount", "billedMinutes")
    return dict(zip(names, (total, errors, duration, joined, billed_minutes), strict=True))


def test_calls_are_counted_in_each_hour_on_each_day_and_in_all(client: Client) -> None:
    one_call = statistics(1, 0, "0s", 0, 0)
    assert client.page(PATH) == {
        "allTime": statistics(5, 2, "103s", 3, 0.7083),
        "daily": [
            {"date": "2026-03-01", **statistics(3, 2, "103s", 3, 0.7083)},
            {"date": "2026-03-02", **one_call},
            {"date": "2026-03-05", **one_call},
        ],
        "hourly": [
            {"date": "2026-03-01", "hour": 12, **statistics(2, 1, "53s", 2, 0.7083)},
            {"date": "2026-03-01", "hour": 13, **statistics(1, 1, "50s", 1, 0)},
            {"date": "2026-03-02", "hour": 23, **one_call},
            {"date": "2026-03-05", "hour": 0, **one_call},
        ],
    }


def test_an_account_without_calls_has_no_hours_and_no_days(client: Client) -> None:
    answer = client.get(PATH, key=OTHER_KEY).json()
    assert answer == {"allTime": statistics(0, 0, "0s", 0, 0), "daily": [], "hourly": []}


@pytest.mark.parametrize(
    ("window", "hours"),
    [
        ({"fromDate": "2026-03-01T12:59:59.999999Z"}, {"01 12": 1, "01 13": 1, "02 23": 1, "05 00": 1}),
        ({"fromDate": "2026-03-01T13:00:00Z", "toDate": "2026-03-02T23:30:00Z"}, {"01 13": 1, "02 23": 1}),
        ({"fromDate": "2026-03-01T13:00:00.000001Z", "toDate": "2026-03-02T23:29:59.999999Z"}, {}),
        ({"fromDate": "2026-03-02", "toDate": "2026-03-02"}, {"02 23": 1}),
        ({"fromDate": "2026-03-01T14:00:00+02:00", "toDate": "2026-03-01T12:30:00"}, {"01 12": 1}),
        ({"fromDate": "2026-03-05", "toDate": "2026-03-01"}, {}),
        ({"fromDate": "", "toDate": "2026-03-01"}, {"01 12": 2, "01 13": 1}),
    ],
)
def test_it_counts_the_calls_that_the_list_gives_for_the_same_bounds(
    client: Client, window: dict[str, str], hours: dict[str, int]
) -> None:
    answer = client.page(PATH, **window)
    assert counted(answer) == {f"2026-03-{hour}": count for hour, count in hours.items()}
    assert sum(days(answer).values()) == answer["allTime"]["totalCount"] == client.page(**window)["total"]


@pytest.mark.parametrize("name", ["fromDate", "toDate"])
def test_a_malformed_date_is_named(client: Client, name: str) -> None:
    answer = client.get(PATH, **{name: "yesterday"})
    assert (answer.status, list(answer.json())) == (400, [name])


def test_a_wrong_key_is_refused_as_by_the_list(client: Client) -> None:
    client.server.faults.auth_status = 401
    answer = client.get(PATH, key="wrong")
    assert (answer.status, answer.json()) == (401, {"detail": "Invalid API key"})


def test_the_rate_limit_is_that_of_all_requests_of_the_key(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.local.standin.faults.monotonic", lambda: 1000.0)
    client.server.faults.rate_limit_per_second = 2
    answers = [client.get(), client.get(PATH), client.get(PATH), client.get()]
    assert [answer.status for answer in answers] == [200, 200, 429, 429]
    assert answers[2].headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    "odd",
    [
        {"joined": "2026-04-01T00:00:00Z", "ended": "later"},
        {"joined": "2026-04-01T00:00:00Z", "ended": "2026-04-01T00:00:00"},
        {"joined": 5, "ended": ["x"]},
        {"endReason": ["hangup"]},
        {"endReason": {}, "billedDuration": {}},
        {"billedDuration": "soon"},
        {"billedDuration": "infs"},
        {"billedDuration": 12},
    ],
)
def test_an_odd_call_is_a_call_all_the_same(client: Client, odd: dict[str, object]) -> None:
    client.server.put_call(KEY, call_at("2026-04-01T00:00:00Z") | odd)
    [hour] = client.page(PATH, fromDate="2026-04-01")["hourly"]
    assert hour == {"date": "2026-04-01", "hour": 0, **statistics(1, 0, "0s", int("joined" in odd), 0)}


def test_a_call_put_again_is_counted_once_and_a_deleted_one_no_more(client: Client) -> None:
    client.server.put_call(KEY, {**CALLS[0], "created": "2026-03-02T23:59:00Z", "endReason": "system_error"})
    client.server.delete_call(KEY, str(CALLS[4]["callId"]))
    answer = client.page(PATH)
    assert counted(answer) == {"2026-03-01 12": 1, "2026-03-01 13": 1, "2026-03-02 23": 2}
    assert answer["allTime"]["errorCount"] == 3


def test_its_requests_are_counted_apart_and_meet_no_fault_that_is_planned_for_others(client: Client) -> None:
    client.server.faults.queue.append(Fault(status=503))
    client.server.faults.cursor_ttl = 1
    assert [client.get(PATH).status for _ in range(3)] == [200, 200, 200]
    assert client.get().status == 503
    link = client.page(pageSize="2")["next"]
    assert [client.get(PATH).status, client.get(link).status] == [200, 200]
    counts = {"requests": 3, "by_status": {"503": 1, "200": 2}, "in_flight": 0, "max_in_flight": 1, "calls_served": 4}
    assert client.page("/_standin/stats") == {**counts, "histograms": 4}


def test_a_late_answer_holds_up_no_other_request_and_ends_with_the_server(client: Client) -> None:
    with ThreadPoolExecutor(1) as threads:
        with StandinServer({KEY: CALLS}) as server:
            late = Client(server, client.http)
            server.faults.latency_seconds = 60
            waiting = threads.submit(late.get, PATH)
            wait_until(lambda: server.stats.histograms)
            server.faults.latency_seconds = 0
            assert late.get().status == late.get(PATH).status == 200
        assert isinstance(waiting.exception(LAST_RESORT_SECONDS), urllib3.exceptions.ProtocolError)
