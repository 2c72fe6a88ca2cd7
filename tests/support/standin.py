"""A client of the stand-in API, for the tests of what it promises; and one that can be held."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition
from typing import Any

import urllib3

from service.local.demo_calls import Call
from service.local.standin import StandinServer
from service.local.standin.answers import Answer
from tests.support.waiting import LAST_RESORT_SECONDS

KEY = "abcd1234.0123456789abcdef0123456789abcdef"
OTHER_KEY = "wxyz9876.0123456789abcdef0123456789abcdef"


def call_at(created: str, call_id: str = "", **more: object) -> Call:
    return {"callId": call_id or f"call-{created}", "created": created, **more}


class HeldStandin(StandinServer):
    """Gives as many pages as it may, and lets who asks for another one wait."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._pages = math.inf
        self._changed = Condition()
        super().__init__(*args, **options)

    def __exit__(self, *raised: object) -> None:
        self.let(math.inf)
        super().__exit__(*raised)

    def let(self, pages: float) -> None:
        """Allow so many pages from now on."""
        with self._changed:
            self._pages = pages
            self._changed.notify_all()

    def answer(self, asked: str, query: dict[str, str], key: str, origin: str) -> Answer:
        if asked == "GET /api/calls":
            with self._changed:
                self._changed.wait_for(lambda: self._pages > 0)
                self._pages -= 1
        return super().answer(asked, query, key, origin)


class Client:
    """What a test says to the server; `retries=False` lets every fault through."""

    def __init__(self, server: StandinServer, http: urllib3.PoolManager) -> None:
        self.server, self.http = server, http

    def get(self, path: str = "/api/calls", key: str = KEY, **query: str) -> urllib3.BaseHTTPResponse:
        url = path if path.startswith("http") else self.server.url + path
        return self.http.request("GET", url, fields=query or None, headers={"X-API-Key": key})

    def page(self, path: str = "/api/calls", **query: str) -> Any:
        answer = self.get(path, **query)
        assert answer.status == 200, answer.data
        return answer.json()

    def ids(self, **query: str) -> list[str]:
        return [call["callId"] for call in self.page(**query)["results"]]

    def pages(self, **query: str) -> Iterator[Any]:
        page = self.page(**query)
        yield page
        while page.get("next"):
            page = self.page(page["next"])
            yield page

    def control(self, path: str, body: object) -> int:
        return self.http.request("POST", f"{self.server.url}/_standin/{path}", json=body).status


@contextmanager
def client_of(calls: list[Call]) -> Iterator[Client]:
    """A client of a server where one key has these calls, and another none."""
    with (
        StandinServer({KEY: calls, OTHER_KEY: []}) as server,
        urllib3.PoolManager(maxsize=4, retries=False, timeout=LAST_RESORT_SECONDS) as http,
    ):
        yield Client(server, http)
