"""A client of the stand-in API, for the tests of what it promises."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import urllib3

from service.local.demo_calls import Call
from service.local.standin import StandinServer
from tests.support.waiting import LAST_RESORT_SECONDS

KEY = "abcd1234.0123456789abcdef0123456789abcdef"
OTHER_KEY = "wxyz9876.0123456789abcdef0123456789abcdef"


def call_at(created: str, call_id: str = "", **more: object) -> Call:
    return {"callId": call_id or f"call-{created}", "created": created, **more}


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
