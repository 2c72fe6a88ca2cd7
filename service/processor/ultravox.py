"""The client of the Ultravox API: pages of calls, its own count of them, and which failures are worth another try.

The key goes to the configured origin and nowhere else: redirects are not followed, and of a page's `next` only the
query is used.
"""

import math
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode

import structlog
from pydantic import SecretStr

from service.exchange import MIB, Answer, AnswerTooLargeError, ExchangeError, Origin
from service.processor.call_page import CallPage, NotAPageError, UnfollowableNextError, parse_page
from service.processor.errors import (
    JobFailedError,
    KeyRefusedError,
    PageTooLargeError,
    RetryableError,
    StaleCursorError,
)
from service.processor.histogram import Histogram, NotAHistogramError, parse_histogram

CALLS = "/api/calls"
HISTOGRAM = "/api/accounts/me/usage/calls"
RETRYABLE_STATUSES = {408, 425, 429}
# How APIs refuse a cursor that they have forgotten; Ultravox says 404, as far as is known.
STALE_CURSOR_STATUSES = {400, 404, 410, 422}
# Unpacked. Several windows page at once and each copy counts; a page of real calls stays far below.
LARGEST_ANSWER = 32 * MIB
# So much is taken of a page that could be asked for in smaller ones: all windows of all jobs have one in hand.
HANDY_ANSWER = 2 * MIB
# Three years of hours are about 4 MiB.
LARGEST_HISTOGRAM = 8 * MIB
LONGEST_RETRY_AFTER = 86400.0

log = structlog.get_logger(__name__)


class UltravoxClient:
    """Fetches pages of calls, and counts. Thread-safe; keeps its connections."""

    def __init__(self, url: str, *, timeout: float, connections: int) -> None:
        """Give a whole answer `timeout` seconds, and keep so many idle connections."""
        self._timeout = timeout
        self._lock = threading.Lock()
        self._counts: Counter[int] = Counter()
        self._url = url
        self._connections = connections
        # One for each key: whatever goes wrong on a connection, no agency gets another one's answer.
        self._origins: dict[str, Origin] = {}

    def take_counts(self) -> Counter[int]:
        """Return the requests by status since the last call; 0 stands for no answer."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return counts

    def _count(self, status: int) -> None:
        with self._lock:
            self._counts[status] += 1

    def page(self, api_key: SecretStr, query: str, *, largest: int = LARGEST_ANSWER) -> CallPage:
        """Fetch one page of at most `largest` bytes, unpacked.

        Raises RetryableError, PageTooLargeError, StaleCursorError, or JobFailedError for what no retry will mend.
        """
        asked_at = time.monotonic()
        answer = self._get(f"{CALLS}?{query}", api_key, largest=largest, seconds=self._timeout)
        if answer.status != 200:
            raise _failure(answer, has_cursor="cursor=" in query)
        return _page(answer.body, asked_at)

    def try_key(self, api_key: SecretStr) -> None:
        """Ask for a single call, to see whether the key is accepted.

        Raises KeyRefusedError; and RetryableError or JobFailedError where the answer says nothing about it.
        """
        self.page(api_key, urlencode({"pageSize": "1"}))

    def histogram(
        self, api_key: SecretStr, date_from: datetime | None, date_to: datetime, *, seconds: float
    ) -> Histogram | None:
        """Ask once, for at most so many seconds, how many calls there are in `[date_from, date_to)`.

        None where the API gives no answer that can be relied on, whatever the reason: imports work without.
        """
        try:
            query = urlencode(_bounds(date_from, date_to - timedelta.resolution))
            answer = self._get(f"{HISTOGRAM}?{query}", api_key, largest=LARGEST_HISTOGRAM, seconds=seconds)
            if answer.status == 200:
                return parse_histogram(answer.body, date_from, date_to)
            cause = f"status {answer.status}"
        except (RetryableError, JobFailedError, NotAHistogramError, OverflowError) as error:
            cause = str(error)
        log.info("no_histogram", cause=cause)
        return None

    def _get(self, target: str, api_key: SecretStr, *, largest: int, seconds: float) -> Answer:
        """Raises RetryableError, PageTooLargeError or JobFailedError where there is no answer."""
        key = api_key.get_secret_value()
        if not (key.isascii() and key.isprintable()):
            raise KeyRefusedError("The agency's API key has characters that no key has.")
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip", "X-API-Key": key}
        try:
            answer = self._origin(key).get(target, headers, largest=largest, seconds=seconds)
        except ExchangeError as error:
            self._count(0)
            log.warning("ultravox_exchange_failed", cause=error.cause)
            raise _unreached(error) from None
        self._count(answer.status)
        return answer

    def _origin(self, key: str) -> Origin:
        with self._lock:
            if key not in self._origins:
                self._origins[key] = Origin(self._url, connections=self._connections)
            return self._origins[key]


def first_query(starts_at: datetime | None, ends_at: datetime, page_size: int) -> str:
    """Return the query for the newest page of a window. The API's bounds are both inclusive."""
    return urlencode({"sort": "-created", "pageSize": str(page_size), **_bounds(starts_at, ends_at)})


def _bounds(first: datetime | None, last: datetime) -> dict[str, str]:
    bounds = {"toDate": _stamp(last)}
    if first is not None:
        bounds["fromDate"] = _stamp(first)
    return bounds


def _page(data: bytearray, asked_at: float) -> CallPage:
    try:
        return parse_page(data, asked_at)
    except UnfollowableNextError:
        raise JobFailedError("Ultravox named a next page that cannot be followed.") from None
    except NotAPageError as error:
        log.warning("not_a_page", cause=str(error))
        raise RetryableError("Ultravox answered with something that is no list of calls") from None


def _unreached(error: ExchangeError) -> RetryableError:
    if isinstance(error, AnswerTooLargeError):
        return PageTooLargeError(f"Ultravox' answer is {error}")
    return RetryableError(f"Ultravox gave no usable answer: {error}")


def _failure(answer: Answer, *, has_cursor: bool) -> Exception:
    status = answer.status
    if status in (401, 403):
        return KeyRefusedError(f"Ultravox rejected the agency's API key ({status}).", status)
    if status in STALE_CURSOR_STATUSES and has_cursor:
        return StaleCursorError("Ultravox has forgotten the cursor")
    if status in RETRYABLE_STATUSES or status >= 500:
        what = "asked for a pause" if status == 429 else "answered with an error"
        return RetryableError(f"Ultravox {what} ({status})", _retry_after(answer.headers.get("Retry-After")))
    return JobFailedError(f"Ultravox refused the request ({status}).")


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
