"""An Ultravox of any number of calls, which takes no memory for them: each is made from its number when it is listed.

`python -m bench.ultravox --port 8766 --calls 1000000 --latency 0.3 --limit 200`. Every key is accepted. The calls lie
evenly over the four months before `--until`, and look like those of the demo. Beyond the limit it answers 429.
"""

import argparse
import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from service.local.demo_calls import demo_calls

SPAN = timedelta(days=120)
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
TEMPLATES = 1000


class Calls:
    """Calls by number, the newest first: number n was created n + 1 steps before `until`."""

    def __init__(self, count: int, until: datetime) -> None:
        self._until, self._count, self._step = until, count, SPAN // count
        # The same for every start, so that a second import finds the calls of the first.
        models = demo_calls(min(count, TEMPLATES), seed=7, until=datetime(2026, 1, 1, tzinfo=UTC))
        self._texts = [
            json.dumps({**call, "callId": "ID", "created": "CREATED"}, separators=(",", ":")) for call in models
        ]

    def between(self, first: datetime, last: datetime) -> range:
        """The numbers of the calls of a range, both ends inclusive."""
        start = max(0, -((last - self._until) // self._step) - 1)
        return range(start, max(start, min(self._count, (self._until - first) // self._step)))

    def text(self, number: int) -> str:
        digits = hashlib.md5(b"%d" % number, usedforsecurity=False).hexdigest()
        call_id = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
        created = (self._until - (number + 1) * self._step).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return self._texts[number % len(self._texts)].replace("ID", call_id, 1).replace("CREATED", created, 1)

    def page(self, query: dict[str, str], host: str) -> dict[str, str]:
        numbers = self.between(*_bounds(query, self._until))
        start, size = int(query.get("cursor", numbers.start)), int(query.get("pageSize", "50"))
        end = min(start + size, numbers.stop)
        more = f'"http://{host}/api/calls?{urlencode({**query, "cursor": end})}"' if end < numbers.stop else "null"
        return {
            "results": f"[{','.join(map(self.text, range(start, end)))}]",
            "next": more,
            "total": str(len(numbers)),
        }

    def histogram(self, query: dict[str, str]) -> dict[str, str]:
        first, last = _bounds(query, self._until)
        first = max(first, self._until - SPAN)
        hours, hour = [], first.replace(minute=0, second=0, microsecond=0)
        while hour <= min(last, self._until):
            if calls := len(self.between(max(hour, first), min(hour + HOUR - TICK, last))):
                hours.append({"date": f"{hour:%Y-%m-%d}", "hour": hour.hour, "totalCount": calls})
            hour += HOUR
        return {"hourly": json.dumps(hours)}


class Gate:
    """Lets so many requests through in any second, and all where there is no limit."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._admitted: list[float] = []
        self._lock = Lock()

    def admits(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if self._limit and len(self._admitted) >= self._limit and now - self._admitted[-self._limit] < 1:
                return False
            self._admitted.append(now)
            return True

    def rate(self) -> dict[str, str]:
        """How many requests were let through per second, in the middle nine tenths of them."""
        with self._lock:
            tail = len(self._admitted) // 20
            middle = self._admitted[tail : -tail or None]
            return {"rate": f"{(len(middle) - 1) / max(middle[-1] - middle[0], 1e-6):.1f}"}


def _bounds(query: dict[str, str], until: datetime) -> tuple[datetime, datetime]:
    first, last = query.get("fromDate"), query.get("toDate")
    return (
        datetime.fromisoformat(first) if first else until - SPAN,
        datetime.fromisoformat(last) if last else until,
    )


def serve(calls: Calls, latency: float, gate: Gate, port: int) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            admitted = asked.path == "/rate" or gate.admits()
            time.sleep(latency)
            query = dict(parse_qsl(asked.query))
            if not admitted:
                members = {"detail": '"Request was throttled."'}
            elif asked.path == "/rate":
                members = gate.rate()
            elif asked.path.endswith("/usage/calls"):
                members = calls.histogram(query)
            else:
                members = calls.page(query, self.headers["Host"])
            texts = (f'"{name}":{value}' for name, value in members.items())
            body = b"{" + ",".join(texts).encode() + b"}"
            self.send_response(200 if admitted else 429)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 256

    Server(("127.0.0.1", port), Handler).serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.ultravox", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--until", type=datetime.fromisoformat, default=datetime(2026, 10, 31, tzinfo=UTC))
    parser.add_argument("--latency", type=float, default=0.0, help="seconds of every answer")
    parser.add_argument("--limit", type=int, help="requests in any second, beyond which the answer is 429")
    options = parser.parse_args()
    serve(Calls(options.calls, options.until), options.latency, Gate(options.limit), options.port)


if __name__ == "__main__":
    main()
