"""The stand-in's histogram over real sockets: what it counts, and the ways in which it can be wrong."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import urllib3

from service.local.standin import Fault, HistogramFaults, StandinServer
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


def hours(answer: dict[str, Any]) -> dict[str, int]:
    """The calls of each hour."""
    return {f"{hour['date']} {hour['hour']:02}": hour["totalCount"] for hour in answer["hourly"]}


def days(answer: dict[str, Any]) -> dict[str, int]:
    return {day["date"]: day["totalCount"] for day in answer["daily"]}


def histogram(server: StandinServer) -> HistogramFaults:
    return server.faults.histogram


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
    ("window", "counts"),
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
    client: Client, window: dict[str, str], counts: dict[str, int]
) -> None:
    answer = client.page(PATH, **window)
    assert hours(answer) == {f"2026-03-{hour}": count for hour, count in counts.items()}
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
    assert hours(answer) == {"2026-03-01 12": 1, "2026-03-01 13": 1, "2026-03-02 23": 2}
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


@pytest.mark.parametrize("of", ["all requests", "the histogram"])
def test_a_late_answer_holds_up_no_other_request_and_ends_with_the_server(client: Client, of: str) -> None:
    with ThreadPoolExecutor(1) as threads:
        with StandinServer({KEY: CALLS}) as server:
            late, faults = Client(server, client.http), server.faults if of == "all requests" else histogram(server)
            faults.latency_seconds = 60
            waiting = threads.submit(late.get, PATH)
            wait_until(lambda: server.stats.histograms)
            faults.latency_seconds = 0
            assert late.get().status == late.get(PATH).status == 200
        assert isinstance(waiting.exception(LAST_RESORT_SECONDS), urllib3.exceptions.ProtocolError)


def test_the_latency_of_the_histogram_is_its_own(client: Client) -> None:
    histogram(client.server).latency_seconds = 60
    assert client.get().status == 200


def test_planned_faults_of_its_own_come_in_turn_and_spare_other_requests(client: Client) -> None:
    histogram(client.server).queue = [Fault(status=429, retry_after="3"), Fault("half_body"), Fault("drop")]
    assert client.get().status == 200
    answer = client.get(PATH)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
    for told in ("IncompleteRead", "without response"):
        with pytest.raises(urllib3.exceptions.ProtocolError, match=told):
            client.get(PATH)
    assert client.page(PATH)["allTime"]["totalCount"] == 5
    assert client.server.stats.by_status == {"200": 1}


@pytest.mark.parametrize(("status", "retry_after"), [(404, None), (403, None), (500, None), (429, "7")])
def test_it_can_be_refused_while_the_list_is_not(client: Client, status: int, retry_after: str | None) -> None:
    client.server.faults.histogram = HistogramFaults(status=status, retry_after=retry_after)
    answers = [client.get(PATH) for _ in range(2)]
    assert [answer.status for answer in answers] == [status, status]
    assert answers[0].headers.get("Retry-After") == retry_after
    assert client.get().status == 200
    assert client.get(PATH, key="wrong").json() == {"detail": "Invalid API key"}


@pytest.mark.parametrize("body", ["", "<html>", '{"hourly": 5}', "é"])
def test_a_raw_body_is_sent_as_it_is(client: Client, body: str) -> None:
    histogram(client.server).raw_body = body
    answer = client.get(PATH)
    assert (answer.status, answer.data) == (200, body.encode())
    histogram(client.server).status = 502
    answer = client.get(PATH)
    assert (answer.status, answer.data) == (502, body.encode())


@pytest.mark.parametrize(
    ("factor", "plus", "hourly", "daily", "all_time"),
    [
        (3, 0, [6, 3, 3, 3], [9, 3, 3], 15),
        (0.7, 0, [1, 1, 1, 1], [2, 1, 1], 4),
        (0, 0, [0, 0, 0, 0], [0, 0, 0], 0),
        (1, -2, [0, -1, -1, -1], [1, -1, -1], 3),
        (2, 1, [5, 3, 3, 3], [7, 3, 3], 11),
    ],
)
def test_each_total_can_be_wrong(
    client: Client, factor: float, plus: int, hourly: list[int], daily: list[int], all_time: int
) -> None:
    truth = client.page(PATH)
    client.server.faults.histogram = HistogramFaults(factor=factor, plus=plus)
    lie = client.page(PATH)
    assert (list(hours(lie).values()), list(days(lie).values())) == (hourly, daily)
    assert lie["allTime"] == {**truth["allTime"], "totalCount": all_time}


@pytest.mark.parametrize("names", [["hourly"], ["daily", "allTime"], ["allTime", "daily", "hourly"]])
def test_parts_can_be_missing(client: Client, names: list[Any]) -> None:
    truth = client.page(PATH)
    histogram(client.server).without = names
    assert client.page(PATH) == {name: part for name, part in truth.items() if name not in names}


def test_no_hours_can_be_listed_beside_days(client: Client) -> None:
    truth = client.page(PATH)
    histogram(client.server).empty_hourly = True
    assert client.page(PATH) == {**truth, "hourly": []}


def test_hours_and_days_without_calls_can_be_listed_between_the_first_call_and_the_last(client: Client) -> None:
    truth = client.page(PATH)
    histogram(client.server).zero_buckets = True
    full = client.page(PATH)
    assert list(days(full).items()) == [(f"2026-03-0{day}", count) for day, count in enumerate((3, 1, 0, 0, 1), 1)]
    assert len(full["hourly"]) == 3 * 24 + 12 + 1
    assert [hour for hour in full["hourly"] if hour["totalCount"]] == truth["hourly"]
    assert full["hourly"][2] == {"date": "2026-03-01", "hour": 14, **statistics(0, 0, "0s", 0, 0)}
    assert full["allTime"] == truth["allTime"]
    assert client.page(PATH, fromDate="2026-03-06")["hourly"] == []


@pytest.mark.parametrize(
    ("offset", "counts"),
    [
        (1, {"01": 3, "03": 1, "05": 1}),
        (-1, {"01": 3, "02": 1, "04": 1}),
        (11, {"01": 2, "02": 1, "03": 1, "05": 1}),
    ],
)
def test_days_can_be_those_of_another_time_zone(client: Client, offset: int, counts: dict[str, int]) -> None:
    truth = client.page(PATH)
    histogram(client.server).daily_offset_hours = offset
    lie = client.page(PATH)
    assert days(lie) == {f"2026-03-{day}": count for day, count in counts.items()}
    assert lie == {**truth, "daily": lie["daily"]}


def test_hours_can_be_those_of_another_time_zone(client: Client) -> None:
    truth = client.page(PATH)
    histogram(client.server).hourly_offset_hours = 1
    lie = client.page(PATH)
    assert hours(lie) == {"2026-03-01 13": 2, "2026-03-01 14": 1, "2026-03-03 00": 1, "2026-03-05 01": 1}
    assert lie == {**truth, "hourly": lie["hourly"]}


def test_deleted_calls_can_be_counted_on_whenever_they_were_deleted(client: Client) -> None:
    truth = client.page(PATH)
    for call in (CALLS[1], CALLS[3]):
        client.server.delete_call(KEY, str(call["callId"]))
    assert client.page(PATH)["allTime"]["totalCount"] == 3
    histogram(client.server).counts_deleted = True
    assert client.page(PATH) == truth
    assert hours(client.page(PATH, fromDate="2026-03-02", toDate="2026-03-04")) == {"2026-03-02 23": 1}
    assert client.page()["total"] == 3


def test_a_call_that_came_back_or_was_replaced_is_not_counted_as_deleted(client: Client) -> None:
    histogram(client.server).counts_deleted = True
    client.server.delete_call(KEY, str(CALLS[1]["callId"]))
    client.server.put_call(KEY, CALLS[1])
    client.server.put_call(KEY, {**CALLS[4], "created": "2026-03-06T00:30:00Z"})
    assert days(client.page(PATH)) == {"2026-03-01": 3, "2026-03-02": 1, "2026-03-06": 1}


def test_it_can_ignore_the_bounds(client: Client) -> None:
    truth = client.page(PATH)
    histogram(client.server).ignores_bounds = True
    for window in ({"fromDate": "2026-03-02"}, {"toDate": "2026-03-02"}, {"fromDate": "yesterday"}):
        assert client.page(PATH, **window) == truth


@pytest.mark.parametrize(
    ("window", "counts"),
    [
        ({"fromDate": "2026-03-01T23:00:00Z", "toDate": "2026-03-02T00:00:00Z"}, {"2026-03-01": 4, "2026-03-02": 2}),
        ({"fromDate": "2026-03-02T23:59:00Z", "toDate": "2026-03-04T00:00:00Z"}, {"2026-03-02": 2}),
        ({"fromDate": "2026-03-02T23:59:00Z"}, {"2026-03-02": 2, "2026-03-05": 1}),
        ({"toDate": "2026-03-01T00:00:00Z"}, {"2026-03-01": 4}),
    ],
)
def test_it_can_count_the_whole_days_that_the_bounds_touch(
    client: Client, window: dict[str, str], counts: dict[str, int]
) -> None:
    for created in ("2026-03-01T00:00:00Z", "2026-03-02T23:59:59.999999Z"):
        client.server.put_call(KEY, call_at(created))
    assert sum(days(client.page(PATH, **window)).values()) < sum(counts.values())
    histogram(client.server).whole_days = True
    assert days(client.page(PATH, **window)) == counts


def test_its_faults_are_set_shown_and_reset_over_http(client: Client) -> None:
    faults = {"factor": 2, "without": ["daily"], "queue": [{"status": 503}]}
    assert client.control("faults", {"histogram": faults}) == 200
    shown = client.page("/_standin/faults")["histogram"]
    assert (shown["factor"], shown["without"], shown["queue"][0]["status"]) == (2.0, ["daily"], 503)
    assert client.get(PATH).status == 503
    assert (client.page(PATH)["allTime"]["totalCount"], client.server.stats.histograms) == (10, 2)
    assert client.control("reset", None) == 200
    assert len(client.page(PATH)["daily"]) == 3


@pytest.mark.parametrize("wrong", [{"factr": 2}, {"factor": "2"}, {"plus": 1.5}, {"without": ["weekly"]}, None])
def test_a_slip_in_its_faults_changes_nothing(client: Client, wrong: object) -> None:
    histogram(client.server).plus = 1
    assert client.control("faults", {"histogram": wrong}) == 400
    assert histogram(client.server).plus == 1
