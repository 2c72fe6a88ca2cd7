"""An API that says what a test wants, byte for byte."""

from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Self


def answer(body: bytes = b'{"results": []}', status: int = 200, **headers: object) -> bytes:
    told = {"Content_Length": len(body), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in told.items() if value is not None]
    return "\r\n".join([f"HTTP/1.1 {status} Told", *lines, "", ""]).encode() + body


class Api:
    """Says what a test wants, byte for byte, and remembers what it was asked."""

    def __init__(self) -> None:
        self.says: list[bytes] = []  # one for each request, then empty pages; where it is b"" it hangs up
        self.stalls = False  # keeps the connection open and says nothing more
        self.drips = False  # or a byte every now and then
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.peers: set[Any] = set()
        self._released = Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                api.paths.append(self.path)
                api.headers.append({name.lower(): value for name, value in self.headers.items()})
                api.peers.add(self.client_address)
                said = api.says.pop(0) if api.says else answer()
                self.wfile.write(said)
                self.close_connection = not said or b"Connection: close" in said
                while api.drips and not api._released.wait(0.02):
                    self.wfile.write(b" ")
                if api.stalls:
                    api._released.wait(10)

            def handle(self) -> None:
                with suppress(OSError):  # whoever asked has hung up
                    super().handle()

            def log_message(self, *_: object) -> None:
                pass

        return Handler
