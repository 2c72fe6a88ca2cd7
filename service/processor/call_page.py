"""An answer of the Ultravox API taken apart: the texts of its calls, and where the next page is.

A call stays the text that it came as: Postgres reads it, and one that it cannot read does not spoil the others. To look
beforehand for what Postgres refuses takes longer than all the rest here, so a page is mended once it was refused.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

INT4_MAX = 2**31 - 1
MAX_JSON_DIGITS = 1000

ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
SURROGATE = re.compile("[\ud800-\udfff]")
CONTROL = re.compile(r"[\x00-\x1f]")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
MEMBER = re.compile(r'"([^"\\]*)"\s*:\s*(.*)', re.DOTALL)
# Strings first, so that a bracket in one is none.
TOKEN = re.compile(rf"{STRING.pattern}|[\[\]{{}},]", re.DOTALL)


class NotAPageError(ValueError):
    """The answer is no page of calls."""


class UnfollowableNextError(NotAPageError):
    """The answer names a next page that cannot be asked for."""


@dataclass(frozen=True)
class CallPage:
    """A page: its calls as JSON texts, the query of the page after it (None at the end), the API's total if it is one.

    `asked_at` is when the API was asked, in seconds of `time.monotonic`.
    """

    calls: list[str]
    next_query: str | None
    total: int | None
    asked_at: float


class _Answer(msgspec.Struct):
    results: list[msgspec.Raw]
    next: msgspec.Raw = msgspec.Raw(b"null")
    total: msgspec.Raw = msgspec.Raw(b"null")


_DECODER = msgspec.json.Decoder(_Answer)


def parse_page(data: bytes | bytearray, asked_at: float) -> CallPage:
    """Take an answer's body apart.

    Raises NotAPageError where it is no JSON object with a list of results.
    """
    text = data.decode("utf-8-sig", "replace")
    try:
        answer = _DECODER.decode(text)
        calls = [bytes(call).decode() for call in answer.results]
        link, total = bytes(answer.next).decode(), bytes(answer.total).decode()
    except (msgspec.MsgspecError, RecursionError):
        # One call can be nested deeply or hold what JSON forbids, and the frame around it be sound.
        members = dict(_members(text))
        calls = [mend(call) for call in _parts(members.get("results", ""), "[]")]
        link, total = members.get("next", "null"), members.get("total", "null")
    return CallPage(
        calls=calls,
        next_query=_query_of(_value(link)),
        total=_total(_value(total)),
        asked_at=asked_at,
    )


def mend(call: str) -> str:
    """Return a call as Postgres takes it: NULs and lone surrogates become U+FFFD, impossible numbers null.

    What is no JSON at all, or nested too deeply to tell, is returned with its control characters escaped.
    """
    try:
        document = json.loads(call, strict=False, parse_constant=lambda _: None, parse_float=_finite, parse_int=_short)
        call = json.dumps(document, ensure_ascii=False)
    except (ValueError, RecursionError):
        call = STRING.sub(lambda string: CONTROL.sub(_escape, string[0]), call).replace("\x00", " ")
    return SURROGATE.sub("\ufffd", ESCAPED_NUL.sub("\\1\ufffd", call))


def _parts(container: str, brackets: str) -> Iterator[str]:
    """Yield the texts of an array's or object's members, however deeply they nest.

    Raises NotAPageError where the text is no such container from its beginning to its end.
    """
    container = container.strip()
    if container[:1] + container[-1:] != brackets:
        raise NotAPageError("not a list of calls")
    depth, start = 0, 1
    for token in TOKEN.finditer(container):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth == 0 or (depth == 1 and token[0] == ","):
            if part := container[start : token.start()].strip():
                yield part
            start = token.end()
        if depth == 0:
            break
    if depth or start != len(container):
        raise NotAPageError("not JSON")


def _members(text: str) -> Iterator[tuple[str, str]]:
    """Yield an object's names and the texts of its values.

    Raises NotAPageError where something else is between them: a `next` that is not understood is not an end.
    """
    for part in _parts(text, "{}"):
        member = MEMBER.fullmatch(part)
        if member is None:
            raise NotAPageError("not JSON")
        yield member[1], member[2]


def _value(text: str) -> object:
    try:
        return json.loads(text, parse_int=_short)
    except (ValueError, RecursionError):
        raise NotAPageError("not JSON") from None


def _query_of(link: object) -> str | None:
    """Return the query of a link: whatever origin it names, only the configured one is asked."""
    if link in (None, ""):
        return None
    try:
        query = urlsplit(link).query if isinstance(link, str) else ""
    except ValueError:
        query = ""
    if not query.isprintable() or not query:
        raise UnfollowableNextError(link)
    return query


def _total(total: object) -> int | None:
    return total if type(total) is int and 0 <= total <= INT4_MAX else None


def _escape(character: re.Match[str]) -> str:
    return f"\\u{ord(character[0]):04x}"


def _finite(text: str) -> float | None:
    return number if math.isfinite(number := float(text)) else None


def _short(text: str) -> int | None:
    return int(text) if len(text) <= MAX_JSON_DIGITS else None
