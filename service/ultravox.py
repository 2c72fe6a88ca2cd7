"""The client of the Ultravox API: pages of calls, and which failures are worth another try.

The key goes to the configured origin and nowhere else: redirects are not followed, and of a page's `next` only the
query is used.
"""

import json
import math
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode, urlsplit

import structlog
from pydantic import SecretStr

from service.exchange import MIB, Answer, AnswerTooLargeError, ExchangeError, Origin

CALLS = "/api/calls"
RETRYABLE_STATUSES = {408, 425, 429}
# How APIs refuse a cursor that they have forgotten; Ultravox says 404, as far as is known.
STALE_CURSOR_STATUSES = {400, 404, 410, 422}
# Unpacked. Several windows page at once and each copy counts; a page of real calls stays far below.
LARGEST_ANSWER = 32 * MIB
INT4_MAX = 2**31 - 1
MAX_JSON_DIGITS = 1000
LONGEST_RETRY_AFTER = 86400.0

# A NUL or a surrogate in an escape: Postgres refuses the first, and the second if it stands alone.
SUSPECT_ESCAPE = re.compile(r"\\u(0000|[dD][89a-fA-F])")
ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
SURROGATE = re.compile("[\ud800-\udfff]")

log = structlog.get_logger(__name__)


class UltravoxError(Exception):
    """The API did not give a page; the message is fit for an operator of the agency."""


class RetryableError(UltravoxError):
    """Worth another try; not before `retry_after` seconds where the API said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StaleCursorError(UltravoxError):
    """The API has forgotten the cursor."""


@dataclass(frozen=True)
class Page:
    """An answer of the API. `body` is its text, which Postgres takes apart; `next_query` is None at the end."""

    body: str
    first_call_id: str | None
    next_query: str | None
    total: int | None
    fetched_at: datetime


class Pace:
    """Spaces the requests of one API key, over all its threads in this process."""

    def __init__(self, requests_per_second: float) -> None:
        self._interval = 1 / requests_per_second
        self._next_at = 0.0
        self._paused_until = 0.0
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Take the next free slot and return how many seconds it is away."""
        with self._lock:
            now = time.monotonic()
            slot = max(now, self._next_at)
            self._next_at = slot + self._interval
            return slot - now

    def pause(self, seconds: float) -> None:
        """Put the next slot off: the API has asked for it."""
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)
            self._next_at = max(self._next_at, self._paused_until)

    def paused(self) -> float:
        """Return how many seconds of a pause are left."""
        return max(0.0, self._paused_until - time.monotonic())


class UltravoxClient:
    """Fetches pages of calls. Thread-safe; keeps its connections."""

    def __init__(self, url: str, *, timeout: float, connections: int) -> None:
        """Give a whole answer `timeout` seconds, and keep so many idle connections."""
        self._timeout = timeout
        self._lock = threading.Lock()
        self._counts: Counter[int] = Counter()
        self._origin = Origin(url, largest=LARGEST_ANSWER, connections=connections)

    def take_counts(self) -> Counter[int]:
        """Return the requests by status since the last call; 0 stands for no answer."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return counts

    def _count(self, status: int) -> None:
        with self._lock:
            self._counts[status] += 1

    def page(self, api_key: SecretStr, query: str) -> Page:
        """Fetch one page.

        Raises RetryableError, StaleCursorError, or UltravoxError for what no retry will mend.
        """
        key = api_key.get_secret_value()
        if not (key.isascii() and key.isprintable()):
            raise UltravoxError("The agency's API key has characters that no key has. Set a valid key and resume.")
        fetched_at = datetime.now(UTC)
        text = self._fetch(query, key)
        return _page(text, fetched_at)

    def _fetch(self, query: str, key: str) -> str:
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip", "X-API-Key": key}
        try:
            answer = self._origin.get(f"{CALLS}?{query}", headers, seconds=self._timeout)
        except ExchangeError as error:
            self._count(0)
            log.warning("ultravox_exchange_failed", cause=error.cause)
            raise RetryableError(_sentence(error)) from None
        self._count(answer.status)
        if answer.status != 200:
            raise _failure(answer, has_cursor="cursor=" in query)
        return answer.body.decode("utf-8-sig", "replace")


def first_query(starts_at: datetime | None, ends_at: datetime, page_size: int) -> str:
    """Return the query for the newest page of a window. The API's bounds are both inclusive."""
    query = {"sort": "-created", "pageSize": str(page_size), "toDate": _stamp(ends_at)}
    if starts_at is not None:
        query["fromDate"] = _stamp(starts_at)
    return urlencode(query)


def sanitize(text: str) -> str:
    """Return JSON that Postgres takes: NULs and lone surrogates become U+FFFD, impossible numbers null.

    Raises ValueError where it is not JSON.
    """
    document = json.loads(text, parse_constant=lambda _: None, parse_float=_finite, parse_int=_short)
    text = json.dumps(document, ensure_ascii=False)
    return SURROGATE.sub("\ufffd", ESCAPED_NUL.sub("\\1\ufffd", text))


def _page(text: str, fetched_at: datetime) -> Page:
    try:
        if SUSPECT_ESCAPE.search(text):
            text = sanitize(text)
        document = json.loads(text, parse_int=_short)
    except (ValueError, RecursionError):
        raise RetryableError("Ultravox answered with something that is not JSON") from None
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list):
        raise RetryableError("Ultravox answered without a list of calls")
    first = results[0] if results and isinstance(results[0], dict) else {}
    total = document.get("total")
    return Page(
        body=text,
        first_call_id=None if first.get("callId") is None else str(first["callId"]),
        next_query=_query_of(document.get("next")),
        total=total if type(total) is int and 0 <= total <= INT4_MAX else None,
        fetched_at=fetched_at,
    )


def _query_of(link: object) -> str | None:
    if link in (None, ""):
        return None
    try:
        query = urlsplit(link).query if isinstance(link, str) else ""
    except ValueError:
        query = ""
    if not query:
        raise UltravoxError("Ultravox named a next page that cannot be followed")
    return query


def _sentence(error: ExchangeError) -> str:
    if isinstance(error, AnswerTooLargeError):
        return f"Ultravox' answer is {error}"
    return f"Ultravox cannot be reached: {error}"


def _failure(answer: Answer, *, has_cursor: bool) -> UltravoxError:
    status = answer.status
    if status in (401, 403):
        return UltravoxError(f"Ultravox rejected the agency's API key ({status}). Set a valid key and resume.")
    if status in STALE_CURSOR_STATUSES and has_cursor:
        return StaleCursorError("Ultravox has forgotten the cursor")
    if status in RETRYABLE_STATUSES or status >= 500:
        return RetryableError(f"Ultravox answered {status}", _retry_after(answer.headers.get("Retry-After")))
    return UltravoxError(f"Ultravox refused the request ({status})")


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which is a number or an HTTP date (RFC 9110, section 10.2.3)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER) if math.isfinite(seconds) else None


def _stamp(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _finite(text: str) -> float | None:
    return number if math.isfinite(number := float(text)) else None


def _short(text: str) -> int | None:
    return int(text) if len(text) <= MAX_JSON_DIGITS else None
