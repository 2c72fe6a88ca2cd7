"""The server: whose request it is, what goes wrong with it, and what is counted of it."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, field
from functools import partial
from socketserver import TCPServer, ThreadingMixIn
from threading import Event, Lock, Thread
from typing import Any, Self

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from service.local.demo_calls import Call
from service.local.standin.account import Account
from service.local.standin.answers import Answer, RefusedError, to_json
from service.local.standin.faults import Fault, Faults
from service.local.standin.handler import Handler

Accounts = Mapping[str, Iterable[Call]]  # by API key
HISTOGRAM = "GET /api/accounts/me/usage/calls"


@dataclass
class Stats:
    """Counts over the API's requests, not those to /_standin. One is finished just before its answer is sent."""

    requests: int = 0
    by_status: dict[str, int] = field(default_factory=dict)  # "half_body" and "drop" beside the numbers
    in_flight: int = 0
    max_in_flight: int = 0
    calls_served: int = 0
    histograms: int = 0  # apart: no other number counts them


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
        self._accounts = {key: Account(calls) for key, calls in accounts.items()}
        self._lock = Lock()  # over all of the above
        self._stopping = Event()  # ends the waits of `latency_seconds`
        super().__init__((host, port), Handler)

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
        with self._lock:
            self._accounts[key].put(call)

    def delete_call(self, key: str, call_id: str) -> None:
        """Remove a call; KeyError when there is none."""
        with self._lock:
            self._accounts[key].delete(call_id)

    def answer(self, asked: str, query: dict[str, str], key: str, origin: str) -> Answer:
        """The answer to an API request, such as "GET /api/calls"; `origin` is where the client reached this server."""
        if asked == HISTOGRAM:
            return self._histogram(query, key)
        with self._lock:
            stats = self.stats
            stats.requests += 1
            stats.in_flight += 1
            stats.max_in_flight = max(stats.max_in_flight, stats.in_flight)
        stopped = self._stopping.wait(self.faults.latency_seconds)
        with self._lock:
            fault = Fault("drop") if stopped else self.faults.take(self.faults.queue)
            answer = self._respond(fault, asked, query, key, origin)
            outcome = answer.cut or str(answer.status)
            stats.by_status[outcome] = stats.by_status.get(outcome, 0) + 1
            stats.in_flight -= 1
            stats.calls_served += answer.calls
        return answer

    def _histogram(self, query: dict[str, str], key: str) -> Answer:
        """Apart from the other requests: it meets the faults of `Faults.histogram`, and is no part of their counts."""
        with self._lock:
            latency = self.faults.latency_seconds + self.faults.histogram.latency_seconds
            self.stats.histograms += 1
        stopped = self._stopping.wait(latency)
        with self._lock:
            fault = Fault("drop") if stopped else self.faults.take(self.faults.histogram.queue)
            return self._respond(fault, HISTOGRAM, query, key, "")

    def _respond(self, fault: Fault | None, asked: str, query: dict[str, str], key: str, origin: str) -> Answer:
        honest = partial(self._honest, asked, query, key, origin)
        return fault.spoil(honest) if fault else honest()

    def _honest(self, asked: str, query: dict[str, str], key: str, origin: str) -> Answer:
        account = self._accounts.get(key)
        if account is None:
            return Answer(self.faults.auth_status, to_json({"detail": "Invalid API key"}))
        if not self.faults.admits(key):
            return Answer(429, to_json({"detail": "Request was throttled."}), retry_after="1")
        try:
            if asked == HISTOGRAM:
                return account.histogram(query, self.faults.histogram)
            if asked == "GET /api/calls":
                return account.page(query, origin, self.faults)
        except RefusedError as refused:
            status, problem = refused.args
            return Answer(status, to_json(problem))
        row = account.rows.get(asked.removeprefix("GET /api/calls/"))
        return Answer(200, row.body) if row else Answer(404, to_json({"detail": "Not found."}))

    def control(self, asked: str, body: bytes) -> Answer:
        with self._lock:
            try:
                match asked:
                    case "GET /_standin/stats":
                        return Answer(200, to_json(asdict(self.stats)))
                    case "POST /_standin/faults":
                        self.faults = TypeAdapter(Faults).validate_json(body)
                    case "POST /_standin/reset":
                        self.faults, self.stats = Faults(), Stats()
                    case unknown if unknown != "GET /_standin/faults":
                        return Answer(404, to_json({"detail": "Not found."}))
            except ValueError as error:
                return Answer(400, to_json({"detail": str(error)}))
            return Answer(200, to_json(asdict(self.faults)))

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client may leave when it likes
            super().handle_error(request, client_address)
