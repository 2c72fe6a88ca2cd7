"""The Ultravox client over real sockets: what it sends and where, what it makes of every answer."""

import gzip
import json
import re
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from service.exchange import MIB
from service.processor.call_page import CallPage
from service.processor.errors import JobFailedError, KeyRefusedError, RetryableError, StaleCursorError
from service.processor.ultravox import UltravoxClient, first_query
from tests.support.raw_api import DRIPS, Api, Drip, answer, in_time

KEY = "abcd1234.0123456789abcdef0123456789abcdef"
ERRORS = (JobFailedError, RetryableError, StaleCursorError)
ENDS_AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        yield server


@pytest.fixture
def ask(api: Api) -> Callable[..., CallPage]:
    """Ask the API for a page; with `said` this is its answer."""
    client = UltravoxClient(api.url, timeout=5, connections=2)

    def page(said: bytes | None = None, query: str = "sort=-created", key: str = KEY) -> CallPage:
        api.says += [] if said is None else [said]
        return client.page(SecretStr(key), query)

    return page


def first_id(page: CallPage) -> str:
    call_id = json.loads(page.calls[0])["callId"]
    assert isinstance(call_id, str)
    return call_id


def page_of(*results: object, **more: object) -> bytes:
    return answer(json.dumps({"results": results, **more}).encode())


def test_a_request_carries_the_key_and_asks_for_what_it_is_told(api: Api, ask: Callable[..., CallPage]) -> None:
    before = time.monotonic()
    page = ask(page_of({"callId": "a"}, {"callId": "b"}, total=2), "sort=-created&pageSize=7")
    assert api.paths == ["/api/calls?sort=-created&pageSize=7"]
    assert (api.headers[0]["x-api-key"], api.headers[0]["accept"]) == (KEY, "application/json")
    assert (page.calls, page.total, page.next_query) == (['{"callId": "a"}', '{"callId": "b"}'], 2, None)
    assert before <= page.asked_at <= time.monotonic()


@pytest.mark.parametrize(
    ("starts_at", "ends_at", "bounds"),
    [
        (None, ENDS_AT, {"toDate": ["2026-03-01T00:00:00.000000Z"]}),
        (
            datetime(2026, 1, 1, 1, 0, 0, 1, tzinfo=timezone(timedelta(hours=2))),
            ENDS_AT + timedelta(microseconds=7),
            {"fromDate": ["2025-12-31T23:00:00.000001Z"], "toDate": ["2026-03-01T00:00:00.000007Z"]},
        ),
    ],
)
def test_the_first_query_sorts_newest_first_within_stamped_bounds(starts_at: Any, ends_at: Any, bounds: Any) -> None:
    query = parse_qs(first_query(starts_at, ends_at, 40))
    assert query == {"sort": ["-created"], "pageSize": ["40"], **bounds}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(ask: Callable[..., CallPage], status: int) -> None:
    with Api() as foreign, pytest.raises(JobFailedError) as caught:
        ask(answer(b"", status, Location=f"{foreign.url}/api/calls"))
    assert type(caught.value) is JobFailedError
    assert foreign.paths == []


NEXTS: dict[str, tuple[dict[str, Any], str | None]] = {
    "absolute": ({"next": "{own}/api/calls?cursor=c%3D&pageSize=2"}, "cursor=c%3D&pageSize=2"),
    "on a foreign origin": ({"next": "{foreign}/api/calls?cursor=c"}, "cursor=c"),
    "on a foreign path": ({"next": "//evil.example/elsewhere?cursor=c#top"}, "cursor=c"),
    "relative": ({"next": "/api/calls?cursor=c"}, "cursor=c"),
    "a query alone": ({"next": "?cursor=c"}, "cursor=c"),
    "empty": ({"next": ""}, None),
    "null": ({"next": None}, None),
    "missing": ({}, None),
}


@pytest.mark.parametrize(("end", "query"), NEXTS.values(), ids=NEXTS)
def test_next_is_asked_of_our_own_origin(api: Api, ask: Callable[..., CallPage], end: Any, query: str | None) -> None:
    with Api() as foreign:
        told = {name: link and link.format(own=api.url, foreign=foreign.url) for name, link in end.items()}
        page = ask(page_of(**told))
        assert page.next_query == query
        if page.next_query is not None:
            assert first_id(ask(page_of({"callId": "own"}), page.next_query)) == "own"
            assert api.paths[1:] == [f"/api/calls?{query}"]
        assert foreign.paths == []


@pytest.mark.parametrize("link", ["https://api.ultravox.ai/api/calls", "x", 5, True, [], {}, "http://[::1?cursor=c"])
def test_a_next_that_cannot_be_followed_is_a_final_error(ask: Callable[..., CallPage], link: object) -> None:
    with pytest.raises(JobFailedError, match="next page") as caught:
        ask(page_of(next=link))
    assert type(caught.value) is JobFailedError


NO_TOTALS: list[object] = [None, -1, "12", 2**31, 10**30, 1.5, True, []]
TOTALS: list[tuple[dict[str, object], object]] = [({}, None), ({"total": 0}, 0), ({"total": 2**31 - 1}, 2**31 - 1)]


@pytest.mark.parametrize(("told", "total"), [*TOTALS, *(({"total": odd}, None) for odd in NO_TOTALS)])
def test_a_total_is_taken_where_it_is_one(ask: Callable[..., CallPage], told: dict[str, object], total: Any) -> None:
    assert ask(page_of(**told)).total == total


def test_compressed_answers_are_asked_for_and_read(api: Api, ask: Callable[..., CallPage]) -> None:
    body = gzip.compress(json.dumps({"results": [{"callId": "ü👋"}]}).encode())
    assert first_id(ask(answer(body, Content_Encoding="gzip"))) == "ü👋"
    assert api.headers[0]["accept-encoding"] == "gzip"


WHOLE = json.dumps({"results": [{"callId": "a"}]}).encode()
BROKEN = {
    "half a body": answer(WHOLE[:9], Content_Length=len(WHOLE), Connection="close"),
    "half a chunk": answer(b"20\r\n" + WHOLE[:9], Content_Length=None, Transfer_Encoding="chunked", Connection="close"),
    "half a body without a length": answer(WHOLE[:-1], Content_Length=None, Connection="close"),
    "half a body behind an escape": answer(b'{"results": [{"callId": "\\u0000"'),
    "half a surrogate pair": answer(b'{"results": ["\\ud83d'),
    "a dropped connection": b"",
    "no HTTP": b"\x00\x01\x02\r\n\r\n",
    "half a header": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Le",
    "broken gzip": answer(b"no gzip", Content_Encoding="gzip"),
    "cut gzip": answer(gzip.compress(WHOLE)[:-12], Content_Encoding="gzip"),
    "HTML": answer(b"<html>upstream said nothing"),
    "not UTF-8": answer(b"\xff\xfe\x00"),
    "a list": answer(b"[]"),
    "no results": answer(b'{"total": 1}'),
    "results that are an object": answer(b'{"results": {}}'),
    "an abyss": answer(b"[" * 100_000),
    "an abyss behind an escape": answer(b'["\\u0000",' + b"[" * 100_000),
}


# What says nothing to the people of an agency: names of classes, formats and settings, and what processors are about.
JARGON = re.compile(r"Error|Exception|HTTP|JSON|[a-z]_[a-z]|cursor|lease|window")


@pytest.mark.parametrize("said", BROKEN.values(), ids=BROKEN)
def test_a_broken_answer_is_worth_another_try_and_told_in_plain_words(
    ask: Callable[..., CallPage], said: bytes
) -> None:
    with pytest.raises(RetryableError) as caught:
        ask(said)
    assert caught.value.retry_after is None
    assert caught.value.what.startswith("Ultravox ")
    assert not JARGON.search(caught.value.what)
    assert first_id(ask(page_of({"callId": "a"}))) == "a"


CALLS_OF_ANY_KIND: list[object] = [
    5,
    None,
    [],
    "x",
    {},
    {"callId": None},
    {"callId": ["a"]},
    {"callId": {"a": 1}},
]


@pytest.mark.parametrize("call", CALLS_OF_ANY_KIND, ids=repr)
def test_a_call_of_any_kind_is_a_text(ask: Callable[..., CallPage], call: object) -> None:
    assert [json.loads(text) for text in ask(page_of(call)).calls] == [call]


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_an_answer_without_end_is_worth_another_try_when_its_time_is_over(api: Api, drip: Drip) -> None:
    api.says = [drip]
    client = UltravoxClient(api.url, timeout=0.2, connections=1)
    with pytest.raises(RetryableError) as caught:
        in_time(lambda: client.page(SecretStr(KEY), "sort=-created"))
    assert str(caught.value) in (
        "Ultravox gave no usable answer: it did not answer in full within 0.2 seconds",
        "Ultravox gave no usable answer: it does not answer in time",
    )
    assert client.take_counts() == {0: 1}


def test_an_answer_that_unpacks_to_more_than_32_mib_is_never_in_memory_and_worth_another_try(
    api: Api, ask: Callable[..., CallPage]
) -> None:
    half_a_megabyte = gzip.compress(b'{"results": [' + bytes(MIB)) + gzip.compress(bytes(MIB)) * 500
    api.says = [answer(half_a_megabyte, Content_Encoding="gzip")]
    tracemalloc.start()
    try:
        with pytest.raises(RetryableError) as caught:
            ask()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(caught.value) == "Ultravox' answer is larger than 32 MiB"
    assert peak < 48 * MIB
    assert first_id(ask(page_of({"callId": "a"}))) == "a"


def test_a_page_of_32_mib_is_taken(ask: Callable[..., CallPage]) -> None:
    page = page_of({"callId": "a", "summary": "x" * (32 * MIB - 200)})
    assert first_id(ask(page)) == "a"


@pytest.mark.parametrize("status", [401, 403, 400, 404, 409, 422, 204, 304])
@pytest.mark.parametrize("query", ["sort=-created", "cursor=c&sort=-created"])
def test_what_no_retry_mends_is_final(ask: Callable[..., CallPage], status: int, query: str) -> None:
    with pytest.raises(ERRORS) as caught:
        ask(answer(b"", status), query)
    stale = query.startswith("cursor") and status in (400, 404, 422)
    refused = status in (401, 403)
    assert type(caught.value) is (StaleCursorError if stale else KeyRefusedError if refused else JobFailedError)
    assert ("API key" in str(caught.value)) == refused
    assert stale or re.search(r"support .+\.$", str(caught.value))
    assert stale or not JARGON.search(str(caught.value))


def http_date(seconds: float) -> str:
    """The date that many seconds from now, without its zone."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds)).rpartition(" ")[0]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 529, 599])
def test_what_passes_is_worth_another_try_when_the_api_says(ask: Callable[..., CallPage], status: int) -> None:
    for headers, retry_after in (({}, None), ({"Retry_After": "3"}, 3.0)):
        with pytest.raises(RetryableError, match=str(status)) as caught:
            ask(answer(b"", status, **headers))
        assert caught.value.retry_after == retry_after


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("0", 0, 0),
        ("120", 120, 120),
        ("1.5", 1.5, 1.5),
        ("-5", 0, 0),
        ("{soon} GMT", 50, 60),
        ("{soon} -0000", 50, 60),
        ("{past} GMT", 0, 0),
        ("Wed, 21 Oct 1970 07:28:00 GMT", 0, 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(ask: Callable[..., CallPage], value: str, least: float, most: float) -> None:
    told = value.format(soon=http_date(60), past=http_date(-60))
    with pytest.raises(RetryableError) as caught:
        ask(answer(b"", 429, Retry_After=told))
    assert caught.value.retry_after is not None
    assert least <= caught.value.retry_after <= most


NO_TIME = ["", "soon", "nan", "inf", "-inf", "1e999", "Wed", "Wed, 99 Oct 2026 07:28:00 GMT", "2026-10-21", "5 s", "ü"]
FAR_TIME = [f"Wed, 21 Oct {'9' * 20} 07:28:00 GMT", f"Wed, 21 Oct 2026 07:28:00 +{'9' * 20}", "1e300", "9" * 30]


@pytest.mark.parametrize("value", NO_TIME)
def test_a_retry_after_that_tells_no_time_is_none(ask: Callable[..., CallPage], value: str) -> None:
    with pytest.raises(RetryableError) as caught:
        ask(answer(b"", 503, Retry_After=value))
    assert caught.value.retry_after is None


@pytest.mark.parametrize("value", FAR_TIME)
def test_a_retry_after_beyond_all_time_still_fits_a_span(ask: Callable[..., CallPage], value: str) -> None:
    with pytest.raises(RetryableError) as caught:
        ask(answer(b"", 503, Retry_After=value))
    assert timedelta(seconds=caught.value.retry_after or 0) < timedelta(days=36_500)


def test_an_api_that_is_not_there_is_worth_another_try_and_the_log_has_the_cause(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Api() as gone:
        pass
    with pytest.raises(RetryableError) as caught:
        UltravoxClient(gone.url, timeout=1, connections=1).page(SecretStr(KEY), "sort=-created")
    assert str(caught.value) == "Ultravox gave no usable answer: it refuses connections"
    logged = capsys.readouterr().out
    assert "NewConnectionError" in logged
    assert KEY not in logged


def test_many_pages_and_refusals_take_one_connection(api: Api, ask: Callable[..., CallPage]) -> None:
    for status in (200, 429, 200, 404, 500, 200):
        with suppress(*ERRORS):
            ask(answer(WHOLE, status))
    assert (len(api.paths), len(api.peers)) == (6, 1)


@pytest.mark.parametrize(
    "said", [answer(b"", 403), answer(b"", 404), answer(b"", 500), b"", answer(b"x"), b"?\r\n\r\n"]
)
def test_no_error_tells_the_key(ask: Callable[..., CallPage], said: bytes) -> None:
    with pytest.raises(ERRORS) as caught:
        ask(said)
    assert KEY not in repr(caught.value) + "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("odd", [f"{KEY}\n", f"{KEY}\r\nX: y", f"{KEY}€", f"{KEY}\ud800"], ids=ascii)
def test_a_key_that_no_header_can_carry_is_a_final_error_that_does_not_tell_it(
    ask: Callable[..., CallPage], odd: str
) -> None:
    with pytest.raises(JobFailedError, match="API key") as caught:
        ask(key=odd)
    assert type(caught.value) is KeyRefusedError
    assert KEY not in repr(caught.value) + "".join(traceback.format_exception(caught.value))


def test_an_answer_with_half_a_character_is_an_answer(ask: Callable[..., CallPage]) -> None:
    page = ask(answer(rb'{"results": [{"callId": "a\u0000", "summary": "\ud83d \ud83d\ude00"}], "next": "?cursor=c"}'))
    assert [json.loads(call) for call in page.calls] == [{"callId": "a\ufffd", "summary": "\ufffd 😀"}]
    assert page.next_query == "cursor=c"


@pytest.mark.parametrize("number", ["NaN", "1e999", "1" * 4000])
def test_an_answer_with_an_impossible_number_is_an_answer(ask: Callable[..., CallPage], number: str) -> None:
    assert first_id(ask(answer(b'{"results": [{"callId": "a", "n": %b}]}' % number.encode()))) == "a"


@pytest.mark.parametrize("status", [102, 103])
def test_interim_answers_are_passed_over(api: Api, ask: Callable[..., CallPage], status: int) -> None:
    interim = f"HTTP/1.1 {status} Soon\r\nLink: </x>\r\n\r\n".encode()
    assert first_id(ask(interim + interim + page_of({"callId": "a"}))) == "a"


def test_a_connection_of_one_key_never_carries_the_answer_of_another(api: Api, ask: Callable[..., CallPage]) -> None:
    for key in ("key-a", "key-b", "key-a"):
        ask(page_of(), key=key)
    assert len(api.peers) == 2


@pytest.mark.parametrize("status", [204, 304])
def test_a_connection_on_which_a_body_may_come_late_is_not_used_again(
    api: Api, ask: Callable[..., CallPage], status: int
) -> None:
    with suppress(*ERRORS):
        ask(answer(b"", status))
    ask(page_of())
    assert len(api.peers) == 2


def test_what_a_server_says_instead_of_a_status_is_not_logged(ask: Callable[..., CallPage]) -> None:
    with capture_logs() as logs, pytest.raises(RetryableError):
        ask(f"Bad request; headers were X-API-Key: {KEY}\r\n\r\n".encode())
    assert [line["event"] for line in logs] == ["ultravox_exchange_failed"]
    assert KEY not in str(logs)


@pytest.mark.parametrize("link", ["?cursor=a\x00", "?cursor=\ud800"])
def test_a_next_page_that_no_request_can_name_is_a_final_error(ask: Callable[..., CallPage], link: str) -> None:
    with pytest.raises(JobFailedError, match="cannot be followed"):
        ask(page_of(next=link))
