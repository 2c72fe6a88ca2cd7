"""A local stand-in for the two reads of Ultravox's calls API: for tests, the demo and docker-compose.

It is not a Flask app: a body sent by half and a connection dropped without an answer happen below WSGI. Parameters it
does not know are ignored, and `previous` is always null: nobody here pages backwards.
"""

import argparse
import base64
import json
import os
import random
import signal
import sys
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, field
from datetime import UTC, date, datetime, time
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import parse_qsl, unquote, urlencode

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from service.local.demo_calls import Call, demo_calls

Accounts = Mapping[str, Iterable[Call]]  # by API key
Key = tuple[str, str]  # (created, callId): unique, and sorts by time

DEFAULT_PAGE_SIZE = 50
_END = "\U0010ffff"  # sorts after every date and id
_STRICT = ConfigDict(extra="forbid", strict=True)  # a slip in a test must not pass


@dataclass(config=_STRICT)
class Fault:
    """One planned fault; `times` None: for ever, `after`: so many requests pass first."""

    kind: Literal["status", "half_body", "garbage", "drop"] = "status"
    status: int = 500
    retry_after: str | None = None  # seconds or an HTTP date, sent as it is
    body: str = '{"detail":"Planned."}'
    times: int | None = 1
    after: int = 0
    probability: float = 1.0

    def fires(self, chance: random.Random) -> bool:
        if self.after > 0:
            self.after -= 1
            return False
        if self.times == 0 or chance.random() >= self.probability:
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(config=_STRICT)
class Faults:
    """What goes wrong, and which undocumented ways the API takes. Change it at any time."""

    queue: list[Fault] = field(default_factory=list)
    seed: int = 0  # of the faults with a probability
    latency_seconds: float = 0.0
    auth_status: Literal[401, 403] = 403
    rate_limit_per_second: int | None = None  # per key
    max_page_size: int = 100  # larger page sizes are cut to it silently
    cursor_ttl: int | None = None  # a cursor lives for this many further list requests of its key
    ignore_sort: bool = False  # oldest first, whatever is asked
    endless: bool = False  # after the last page `next` starts again from the first
    foreign_next: str | None = None  # another origin for `next`, such as http://127.0.0.1:1
    next_form: Literal["absolute", "relative", "empty_string_at_end", "missing_at_end"] = "absolute"
    total: Literal["exact", "zero", "missing"] = "exact"

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 (repeatable, not secret)
        self._admitted: dict[str, list[float]] = {}

    def take(self) -> Fault | None:
        """The first planned fault that this request meets; a used-up one leaves the queue."""
        taken = next((fault for fault in self.queue if fault.fires(self._chance)), None)
        if taken and taken.times == 0:
            self.queue.remove(taken)
        return taken

    def admits(self, key: str) -> bool:
        """Whether the key is still within its limit over the last second."""
        if self.rate_limit_per_second is None:
            return True
        now = monotonic()
        recent = [moment for moment in self._admitted.get(key, []) if now - moment < 1]
        admitted = len(recent) < self.rate_limit_per_second
        self._admitted[key] = [*recent, now] if admitted else recent
        return admitted


class Answer(NamedTuple):
    status: int
    body: bytes
    retry_after: str | None = None
    cut: Literal["half_body", "drop"] | None = None
    calls: int = 0  # how many calls the page holds


@dataclass
class Stats:
    """Counts over the API's requests, not those to /_standin. One is finished just before its answer is sent."""

    requests: int = 0
    by_status: dict[str, int] = field(default_factory=dict)  # "half_body" and "drop" beside the numbers
    in_flight: int = 0
    max_in_flight: int = 0
    calls_served: int = 0


class _RefusedError(Exception):
    """The request gets this status and JSON instead of its page."""


class _Account:
    """One key's calls: serialized once, so a page is a join, and kept in order, so it is found by bisection."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self.rows = {call["callId"]: (_key(call), _json(call)) for call in calls}
        self.order = sorted(key for key, _ in self.rows.values())
        self.lists = 0  # list requests so far: the clock of `cursor_ttl`

    def delete(self, call_id: str) -> None:
        key, _ = self.rows.pop(call_id)
        del self.order[bisect_left(self.order, key)]

    def page(self, query: dict[str, str], origin: str, faults: Faults) -> Answer:
        """One page: cut the window, go to the cursor, take calls in the asked direction."""
        self.lists += 1
        sort, size = query.get("sort") or "-created", query.get("pageSize", "")
        if sort not in ("created", "-created") and not faults.ignore_sort:
            raise _RefusedError(400, {"sort": ["Only created and -created are known here."]})
        ascending = faults.ignore_sort or sort == "created"
        low = bisect_left(self.order, (_moment(query, "fromDate", time.min) or "", ""))
        high = max(low, bisect_right(self.order, (_moment(query, "toDate", time.max) or _END, _END)))
        beginning = ("", "") if ascending else (_END, _END)
        place = self._place(query["cursor"], faults.cursor_ttl) if query.get("cursor") else beginning
        # A size that is no positive number is ignored, a large one is cut: both silently.
        limit = min(int(size) if size.isdecimal() and int(size) else DEFAULT_PAGE_SIZE, faults.max_page_size)
        if ascending:
            start = max(low, bisect_right(self.order, place))
            keys = self.order[start : min(high, start + limit)]
            more = start + limit < high
        else:
            end = min(high, bisect_left(self.order, place))
            keys = self.order[max(low, end - limit) : max(low, end)][::-1]
            more = end - limit > low
        frame: dict[str, Any] = {"previous": None}
        if more or faults.endless:
            frame["next"] = self._next(keys[-1] if more else beginning, query, origin, faults)
        elif faults.next_form != "missing_at_end":
            frame["next"] = "" if faults.next_form == "empty_string_at_end" else None
        if faults.total != "missing":
            frame["total"] = high - low if faults.total == "exact" else 0
        results = b",".join(self.rows[call_id][1] for _, call_id in keys)
        return Answer(200, b'{"results":[%b],%b' % (results, _json(frame)[1:]), calls=len(keys))

    def _next(self, place: Key, query: dict[str, str], origin: str, faults: Faults) -> str:
        """A cursor is a place between two calls, by value: calls that come or go meanwhile do not move it."""
        cursor = base64.urlsafe_b64encode(_json([*place, self.lists])).decode()
        origin = faults.foreign_next or ("" if faults.next_form == "relative" else origin)
        return f"{origin}/api/calls?{urlencode({**query, 'cursor': cursor})}"

    def _place(self, cursor: str, ttl: int | None) -> Key:
        with suppress(ValueError):
            match json.loads(base64.urlsafe_b64decode(cursor)):
                case [str(created), str(call_id), int(issued)] if ttl is None or self.lists - issued <= ttl:
                    return created, call_id
        raise _RefusedError(404, {"detail": "Invalid cursor"})


def _moment(query: dict[str, str], name: str, without_time: time) -> str | None:
    text = query.get(name, "")
    try:
        if len(text) == len("2026-01-31"):
            return _stamp(datetime.combine(date.fromisoformat(text), without_time))
        return _stamp(datetime.fromisoformat(text)) if text else None
    except (ValueError, OverflowError):
        raise _RefusedError(400, {name: ["Enter a valid date/time."]}) from None


def _key(call: Call) -> Key:
    return _stamp(datetime.fromisoformat(call["created"])), call["callId"]


def _stamp(moment: datetime) -> str:
    """UTC with microseconds and Z; a time without a zone is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _json(value: object) -> bytes:
    """ASCII only, so that NUL and lone surrogates travel as escapes."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # header and body leave together
    server: "StandinServer"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, _, query = self.path.partition("?")
        if path.startswith("/_standin/"):
            answer = self.server.control(f"{self.command} {path}", body)
        else:
            origin, key = f"http://{self.headers.get('Host', 'localhost')}", self.headers.get("X-API-Key", "")
            parameters = dict(parse_qsl(query, keep_blank_values=True))
            answer = self.server.answer(f"{self.command} {unquote(path)}", parameters, key, origin)
        self.close_connection = self.close_connection or answer.cut is not None
        if answer.cut == "drop":
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer.body)))
        if answer.retry_after is not None:
            self.send_header("Retry-After", answer.retry_after)
        self.end_headers()
        self.wfile.write(answer.body[: len(answer.body) // 2] if answer.cut else answer.body)

    do_POST = do_GET  # noqa: N815 (its name there)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name there)
        """Quiet: /_standin/stats tells what was asked."""


class StandinServer(ThreadingMixIn, TCPServer):
    """Serves from a thread, in a `with`. Not an HTTPServer: that one looks its own name up in the DNS."""

    allow_reuse_address = True
    daemon_threads = True  # who waits on an idle connection ends with it; a request after the stop is dropped
    request_queue_size = 128

    def __init__(
        self, accounts: Accounts, *, faults: Faults | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.faults = faults or Faults()
        self.stats = Stats()
        self._accounts = {key: _Account(calls) for key, calls in accounts.items()}
        self._lock = Lock()  # over all of the above
        self._stopping = Event()  # ends the waits of `latency_seconds`
        super().__init__((host, port), _Handler)

    def __enter__(self) -> Self:
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()  # it stops within the short interval
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.socket.getsockname())

    def put_call(self, key: str, call: Call) -> None:
        """Add a call, or replace the one of the same callId."""
        account, key_of_call = self._accounts[key], _key(call)
        with self._lock:
            if call["callId"] in account.rows:
                account.delete(call["callId"])
            account.rows[call["callId"]] = (key_of_call, _json(call))
            insort(account.order, key_of_call)

    def delete_call(self, key: str, call_id: str) -> None:
        """Remove a call; KeyError when there is none."""
        with self._lock:
            self._accounts[key].delete(call_id)

    def answer(self, asked: str, query: dict[str, str], key: str, origin: str) -> Answer:
        """The answer to an API request, such as "GET /api/calls"; `origin` is where the client reached this server."""
        with self._lock:
            stats = self.stats
            stats.requests += 1
            stats.in_flight += 1
            stats.max_in_flight = max(stats.max_in_flight, stats.in_flight)
        stopped = self._stopping.wait(self.faults.latency_seconds)
        with self._lock:
            fault = Fault("drop") if stopped else self.faults.take()
            if fault and fault.kind == "drop":
                answer = Answer(0, b"", cut="drop")
            elif fault and fault.kind == "garbage":
                answer = Answer(200, b"<html>upstream said nothing")
            elif fault and fault.kind == "status":
                answer = Answer(fault.status, fault.body.encode(), fault.retry_after)
            else:
                answer = self._honest(asked, query, key, origin)
            if fault and fault.kind == "half_body":
                answer = answer._replace(cut="half_body", calls=0)
            outcome = answer.cut or str(answer.status)
            stats.by_status[outcome] = stats.by_status.get(outcome, 0) + 1
            stats.in_flight -= 1
            stats.calls_served += answer.calls
        return answer

    def _honest(self, asked: str, query: dict[str, str], key: str, origin: str) -> Answer:
        account = self._accounts.get(key)
        if account is None:
            return Answer(self.faults.auth_status, _json({"detail": "Invalid API key"}))
        if not self.faults.admits(key):
            return Answer(429, _json({"detail": "Request was throttled."}), retry_after="1")
        if asked == "GET /api/calls":
            try:
                return account.page(query, origin, self.faults)
            except _RefusedError as refused:
                status, problem = refused.args
                return Answer(status, _json(problem))
        row = account.rows.get(asked.removeprefix("GET /api/calls/"))
        return Answer(200, row[1]) if row else Answer(404, _json({"detail": "Not found."}))

    def control(self, asked: str, body: bytes) -> Answer:
        with self._lock:
            try:
                match asked:
                    case "GET /_standin/stats":
                        return Answer(200, _json(asdict(self.stats)))
                    case "POST /_standin/faults":
                        self.faults = TypeAdapter(Faults).validate_json(body)
                    case "POST /_standin/reset":
                        self.faults, self.stats = Faults(), Stats()
                    case unknown if unknown != "GET /_standin/faults":
                        return Answer(404, _json({"detail": "Not found."}))
            except ValueError as error:
                return Answer(400, _json({"detail": str(error)}))
            return Answer(200, _json(asdict(self.faults)))

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client may leave when it likes
            super().handle_error(request, client_address)


def main() -> None:
    """Serve demo calls until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="A local stand-in for Ultravox's calls API.")
    parser.add_argument("--host", default="127.0.0.1")
    for option, default in {"--port": 9100, "--calls": 4000, "--seed": 7, "--months": 4}.items():
        parser.add_argument(option, type=int, default=default)
    options = parser.parse_args()
    key = os.environ.get("ULTRAVOX_API_KEY") or parser.error("set ULTRAVOX_API_KEY: the one key that is accepted")
    stops = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)  # before any thread, which inherits it: they wait for sigwait
    calls = demo_calls(options.calls, seed=options.seed, until=datetime.now(UTC), months=options.months)
    with StandinServer({key: calls}, host=options.host, port=options.port) as server:
        sys.stderr.write(f"Ultravox stand-in: {len(calls)} calls at {server.url}\n")
        signal.sigwait(stops)


if __name__ == "__main__":
    main()
