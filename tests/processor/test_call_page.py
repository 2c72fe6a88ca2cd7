"""Answers taken apart: where the calls and the next page are, and what Postgres is spared."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from service.processor.call_page import NotAPageError, mend, parse_page

SLASH = "\\"
TEXTS = {
    "plain": (r'{"a": "b"}', {"a": "b"}),
    "NUL": (r'["a\u0000b\u0000\u0000"]', ["a\ufffdb\ufffd\ufffd"]),
    "NUL behind an escaped backslash": (r'["\\\u0000"]', [SLASH + "\ufffd"]),
    "NUL behind two": (r'["\\\\\u0000"]', [SLASH * 2 + "\ufffd"]),
    "a backslash before the text u0000": (r'["\\u0000"]', [SLASH + "u0000"]),
    "two before it": (r'["\\\\u0000"]', [SLASH * 2 + "u0000"]),
    "NUL in a key": (r'{"\u0000k": {"\\\u0000": 1}}', {"\ufffdk": {SLASH + "\ufffd": 1}}),
    "a high surrogate": (r'["x\ud83d", "\uD83Dy"]', ["x\ufffd", "\ufffdy"]),
    "a low surrogate": (r'["\ude00", "\uDE00\ud83d"]', ["\ufffd", "\ufffd\ufffd"]),
    "a surrogate in a key": (r'{"\ud83d": 1}', {"\ufffd": 1}),
    "pairs": (r'["\ud83d\ude00 👋 \uD83D\uDC4B"]', ["😀 👋 👋"]),
    "no numbers": ("[NaN, Infinity, -Infinity, 1e999, -1e999]", [None] * 5),
    "a number of 5000 digits": (f"[{'7' * 5000}, -{'7' * 5000}, {'7' * 15}]", [None, None, int("7" * 15)]),
}


@pytest.fixture(scope="module")
def postgres(postgres_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(make_conninfo(postgres_url), autocommit=True) as conn:
        yield conn


def stored(postgres: psycopg.Connection, text: str) -> Any:
    """The text of a JSON after it was Postgres' jsonb, as Python reads it; every number a float."""
    [[back]] = postgres.execute("select (%s::jsonb)::text", [text]).fetchall()
    return json.loads(back, parse_int=float)


@pytest.mark.parametrize(("text", "value"), TEXTS.values(), ids=TEXTS)
def test_mended_json_keeps_what_postgres_can_hold(postgres: psycopg.Connection, text: str, value: Any) -> None:
    assert json.loads(mend(text)) == value
    assert stored(postgres, mend(text)) == value


DEEP = "[" * 1100 + "]" * 1100
CALLS = {
    "none": ('{"results": []}', []),
    "plain": ('{"total": 2, "results": [{"a": 1}, {"b": "]"}]}', ['{"a": 1}', '{"b": "]"}']),
    "whatever they are": ('{"results": [1, "x,y", null, ["]"], {}]}', ["1", '"x,y"', "null", '["]"]', "{}"]),
    "one nested deeply": (f'{{"results": [{{"a": {DEEP}}}, {{"b": "\\"]"}}]}}', [f'{{"a": {DEEP}}}', '{"b": "\\"]"}']),
    "a control character in a string": ('{"results": [{"a": "x\n\x01,"}, 2]}', ['{"a": "x\\n\\u0001,"}', "2"]),
    "a NUL in a string": ('{"results": [{"a": "x\x00"}]}', ['{"a": "x\ufffd"}']),
    "what is not JSON among them": ('{"results": [{"a": 1}, {"b": 01}, {x}]}', ['{"a": 1}', '{"b": 01}', "{x}"]),
    "a byte order mark": ('\ufeff{"results": [1]}', ["1"]),
    "the last of two lists": ('{"results": [1], "results": [2]}', ["2"]),
    "both": (f'{{"results": [1], "results": [{DEEP}]}}', [DEEP]),
}


@pytest.mark.parametrize(("text", "calls"), CALLS.values(), ids=CALLS)
def test_each_call_is_a_text_of_its_own_whatever_its_neighbours_are(text: str, calls: list[str]) -> None:
    assert parse_page(text.encode(), 0.0).calls == calls


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    ("link", "query"), [('"http://x/?c=1"', "c=1"), ("null", None), ('""', None), ('"?c=%22,]"', "c=%22,]")]
)
def test_the_next_page_is_found_behind_and_before_the_calls(deep: bool, link: str, query: str | None) -> None:
    calls = f'[{{"next": "?not=this", "x": {DEEP if deep else 1}}}]'
    for text in (f'{{"next": {link}, "results": {calls}}}', f'{{"results" : {calls} , "next" : {link} }}'):
        assert parse_page(text.encode(), 0.0).next_query == query


NO_PAGES = [
    *("", "{", "<html>", "[]", "[1]", "5", "null", "{}", '{"results": {}}', '{"results": null}', '{"results": "[]"}'),
    *('{"results": [1}', '{"results": [1]', '{"results": [1]} x', '{"results": [{"a": 1}', '{"results": [1]]}'),
    # What is not understood could have been the next page.
    *("{\"results\": [NaN], 'next': '?c=1'}", '{"results": [NaN], next: "?c=1"}', '{"results": [NaN] "next": "?c=1"}'),
    *('{"results": [NaN], "next": ?c=1}', f'{{"results": [], "next": {DEEP}}}', '{"results": [], "next": 5}'),
]


@pytest.mark.parametrize("text", NO_PAGES, ids=str.__repr__)
def test_what_is_no_page_is_refused(text: str) -> None:
    with pytest.raises(NotAPageError):
        parse_page(text.encode(), 0.0)


ANY_TEXT = st.text(st.characters() | st.sampled_from('\x00\\u0\ud83d\ude00"😀'))
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)


def storable(value: Any) -> Any:
    """What is left of a JSON value where NULs and lone surrogates become U+FFFD and impossible numbers null."""
    match value:
        case str():
            return re.sub("[\x00\ud800-\udfff]", "\ufffd", value)
        case list():
            return [storable(one) for one in value]
        case dict():
            return {storable(name): storable(one) for name, one in value.items()}
        case float() if value - value != 0:
            return None
    return float(value) if type(value) is int else value


@given(ANY_JSON, st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_json_is_mended_postgres_takes_and_keeps(
    postgres: psycopg.Connection, value: Any, ensure_ascii: bool
) -> None:
    text = json.dumps(value, ensure_ascii=ensure_ascii)
    assert stored(postgres, mend(text)) == storable(json.loads(text))
    assert mend(mend(text)) == mend(text)


@given(st.lists(ANY_JSON, max_size=5), st.none() | st.text(min_size=1), st.booleans(), st.sampled_from([None, 1, 4]))
@settings(max_examples=150, deadline=None)
def test_a_page_with_one_unreadable_call_is_taken_apart_as_one_without(
    calls: list[Any], cursor: str | None, ensure_ascii: bool, indent: int | None
) -> None:
    link = None if cursor is None else f"?{urlencode({'cursor': cursor}, errors='replace')}"
    page = {"next": link, "results": [*calls, "SPOILT"], "total": 7}
    text = json.dumps(page, ensure_ascii=ensure_ascii, indent=indent)
    sound = parse_page(text.encode(errors="replace"), 0.0)
    spoilt = parse_page(text.replace('"SPOILT"', DEEP).encode(errors="replace"), 0.0)
    assert (spoilt.next_query, spoilt.total) == (sound.next_query, sound.total) == (link and link[1:], 7)
    assert [json.loads(mend(call)) for call in spoilt.calls[:-1]] == [
        json.loads(mend(call)) for call in sound.calls[:-1]
    ]
