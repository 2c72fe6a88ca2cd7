"""A request over HTTP, from its head to the last byte of its answer."""

from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from service.local.standin.server import StandinServer


class Handler(BaseHTTPRequestHandler):
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
