"""An API that says what a test wants, byte for byte, and as slowly as it wants."""

import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from threading import Event, Thread
from typing import Any, Self, TypeVar

from tests.support.waiting import LAST_RESORT_SECONDS

T = TypeVar("T")


def answer(body: bytes = b'{"results": []}', status: int = 200, **headers: object) -> bytes:
    told = {"Content_Length": len(body), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in told.items() if value is not None]
    return "\r\n".join([f"HTTP/1.1 {status} Told", *lines, "", ""]).encode() + body


@dataclass(frozen=True)
class Drip:
    """Bytes that come at once, and others that follow without end: one every now and then, or without a pause."""

    begun: bytes
    endless: bytes
    pause: float = 0.01

    def pour(self, send: Callable[[bytes], object], released: Event) -> None:
        send(self.begun)
        for part in cycle(bytes([byte]) for byte in self.endless) if self.pause else cycle([self.endless * 1000]):
            if released.wait(self.pause):
                break
            send(part)


CHUNKED = answer(b"", Content_Length=None, Transfer_Encoding="chunked")
UNPACKED_FROM = answer(b"", Content_Length=None, Content_Encoding="gzip", Connection="close")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# Every place below the body, and in it, where a server can keep a client waiting that takes something for progress.
DRIPS = {
    "a status line": Drip(b"HTTP/1.1 200 ", b"x"),
    "a header": Drip(b"HTTP/1.1 200 Told\r\nX-Odd: ", b"x"),
    "headers": Drip(b"HTTP/1.1 200 Told\r\n", b"X-Odd: x\r\n"),
    "continues": Drip(b"", CONTINUE),
    "a flood of continues": Drip(b"", CONTINUE, pause=0),
    "a header of a continue": Drip(b"HTTP/1.1 100 Continue\r\nX-Odd: ", b"x"),
    "a chunk's size": Drip(CHUNKED, b"0"),
    "a chunk's extension": Drip(CHUNKED + b"1;", b"x"),
    "chunks": Drip(CHUNKED, b"1\r\n \r\n"),
    "a trailer": Drip(CHUNKED + b"2\r\n{}\r\n0\r\nX-Odd: ", b"x"),
    "a flood of trailers": Drip(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Odd: x\r\n", pause=0),
    "a body": Drip(answer(b"", Content_Length=10**9), b" "),
    "a body that ends with the connection": Drip(answer(b"", Content_Length=None, Connection="close"), b" "),
    "the head of gzip": Drip(UNPACKED_FROM + b"\x1f\x8b\x08\x08\0\0\0\0\0\xff", b"x"),
    "gzip that holds nothing": Drip(UNPACKED_FROM + b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\0\0\0\xff\xff"),
    "a body of an error": Drip(answer(b"", 500, Content_Length=10**9), b" "),
    # A pause that no test sits out: it says this much and then nothing.
    "silence": Drip(b"", b"x", pause=600),
    "silence after half a body": Drip(answer(b"{", Content_Length=2), b"x", pause=600),
}


class Api:
    """Says what a test wants and remembers what it was asked."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        # One for each request, then empty pages. Where it is b"" it hangs up; a function is asked when it is its turn.
        self.says: list[bytes | Drip | Callable[[], bytes]] = []
        self.says_to: dict[str, Drip] = {}  # to whoever shows this API key, always
        self.hangs_up = False  # after every answer
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.peers: set[Any] = set()
        self._released = Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def _next(self, api_key: str | None) -> bytes | Drip:
        if api_key in self.says_to:
            return self.says_to[api_key]
        said = self.says.pop(0) if self.says else answer()
        return said() if callable(said) else said

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                api.paths.append(self.path)
                api.headers.append({name.lower(): value for name, value in self.headers.items()})
                api.peers.add(self.client_address)
                said = api._next(self.headers["X-API-Key"])
                if isinstance(said, Drip):
                    said.pour(self.wfile.write, api._released)
                    self.close_connection = True
                else:
                    self.wfile.write(said)
                    self.close_connection = api.hangs_up or not said or b"Connection: close" in said

            def handle(self) -> None:
                with suppress(OSError):  # whoever asked has hung up
                    super().handle()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def in_time(ask: Callable[[], T]) -> T:
    """What comes of asking, in a thread that a test can leave behind where nothing ever comes of it."""
    asked: Future[T] = Future()

    def run() -> None:
        try:
            asked.set_result(ask())
        except Exception as error:
            asked.set_exception(error)

    Thread(target=run, daemon=True).start()
    return asked.result(LAST_RESORT_SECONDS)


@contextmanager
def pouring(drip: Drip) -> Iterator[int]:
    """A port where whoever connects gets this, unasked."""
    released = Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    Thread(target=pour, args=(connection,), daemon=True).start()

        def pour(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                drip.pour(connection.sendall, released)

        Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        released.set()
        listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
