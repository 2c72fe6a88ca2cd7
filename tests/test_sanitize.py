"""JSON that Postgres takes: what sanitize() replaces and what it keeps."""

import json
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from service.ultravox import sanitize

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
def test_sanitized_json_keeps_what_postgres_can_hold(postgres: psycopg.Connection, text: str, value: Any) -> None:
    assert json.loads(sanitize(text)) == value
    assert stored(postgres, sanitize(text)) == value


@pytest.mark.parametrize("text", ["", "{", "<html>", r'["\u00"]', "[1,]"])
def test_sanitize_refuses_what_is_not_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"line 1|Expecting"):
        sanitize(text)


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
def test_whatever_json_is_sanitized_postgres_takes_and_keeps(
    postgres: psycopg.Connection, value: Any, ensure_ascii: bool
) -> None:
    text = json.dumps(value, ensure_ascii=ensure_ascii)
    assert stored(postgres, sanitize(text)) == storable(json.loads(text))
    assert sanitize(sanitize(text)) == sanitize(text)
