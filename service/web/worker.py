"""How gunicorn serves the app: a greenlet per connection, so that slow clients hold up nobody but themselves.

A client that takes too long over a request's head, its body or an answer is treated as one that has hung up. What
gunicorn cannot read is refused by the app, in the shape of every other error.
"""

import errno
import re
import socket
import time
from contextlib import nullcontext, suppress
from io import BytesIO
from typing import Any

import gevent
from gevent.socket import socket as Socket  # noqa: N812  # beside the module of that name
from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import (
    ConfigurationProblem,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
)
from gunicorn.util import close_graceful, http_date
from gunicorn.workers.ggevent import GeventWorker

from service.web.errors import ApiError, ErrorCode, malformed
from service.web.responses import REFUSAL

# Seconds for the first byte of a connection, for the rest of a head, for a body, for an answer.
HEAD_SECONDS = 10.0
BODY_SECONDS = 10.0
ANSWER_SECONDS = 10.0
# How long a stopping worker keeps idle connections, for a request that may be on its way.
LINGER_SECONDS = 2.0
# An access token of 32 KiB and as much beside it; headers behind a chunked body likewise. gunicorn's own limits
# multiply to megabytes for each connection.
LARGEST_HEAD = 64 * 1024
# Of a body that the app refuses without reading it. Reading what is there already gives way to no other greenlet.
LARGEST_DISCARD = 16 * 1024 * 1024
DISCARD_AT_ONCE = 8 * 1024

# What gunicorn refuses of its own accord, where it is not a 400.
STATUS = {LimitRequestLine: 414, LimitRequestHeaders: 431}
OUR_FAULT = (ConfigurationProblem, InvalidResponseHeader, InvalidResponseHeaderName)
# Of a head that gunicorn has given up on, what the answer depends on.
TOLD = re.compile(rb"^(origin|x-request-id):[ \t]*([\x20-\x7e]+?)[ \t]*\r$", re.IGNORECASE | re.MULTILINE)


class Client:
    """A client's socket, with a deadline over each head, each body and each answer."""

    def __init__(self, sock: Any, keepalive: float) -> None:
        self._sock = sock
        self._keepalive = keepalive
        self._head = bytearray()
        self._reads_head = True
        self._late = False
        self._answer = bytearray()
        self.idle = True
        self._deadline = time.monotonic() + HEAD_SECONDS

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def expect_body(self) -> None:
        self._reads_head = self.idle = False
        self._deadline = time.monotonic() + BODY_SECONDS

    def expect_request(self) -> None:
        self._head.clear()
        self._reads_head = self.idle = True
        self._deadline = time.monotonic() + self._keepalive

    def recv(self, size: int) -> bytes:
        """Return what has come, nothing where the client has hung up or is late.

        Raises LimitRequestHeaders.
        """
        data = b"" if self._late else self._received(size)
        if self._reads_head and data:
            self._note(data)
        return data

    def _received(self, size: int) -> bytes:
        # A socket that has something to read does not let others have a turn.
        gevent.sleep(0)
        left = self._deadline - time.monotonic()
        if left <= 0:  # a socket that has something to read would not look at its timeout
            return self.hang_up()
        try:
            self._sock.settimeout(left)
            return bytes(self._sock.recv(size))
        except TimeoutError:
            return self.hang_up()
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            return bytes(self._sock.recv(size))  # hang_up_if_idle() ends the wait: what has come by now, if anything

    def hang_up(self) -> bytes:
        """Read nothing more."""
        self._late = True
        return b""

    def _note(self, data: bytes) -> None:
        if self.idle:
            self.idle = False
            self._deadline = time.monotonic() + HEAD_SECONDS
        self._head += data
        if len(self._head) > LARGEST_HEAD:
            raise LimitRequestHeaders("limit of the whole head")

    def sendall(self, data: bytes) -> None:
        """Keep a piece of an answer: gunicorn writes head and body apart, and each packet costs both sides a turn."""
        self._answer += data

    def send_answer(self) -> None:
        """Raises BrokenPipeError where the client does not take it in time."""
        answer, self._answer = self._answer, bytearray()
        self._sock.settimeout(ANSWER_SECONDS)
        try:
            self._sock.sendall(answer)
        except TimeoutError:
            raise BrokenPipeError(errno.EPIPE, "the client does not read") from None

    def told(self) -> dict[str, str]:
        """Return of the head so far what an answer depends on, as WSGI names it."""
        found = TOLD.findall(self._head)
        return {"HTTP_" + name.decode().upper().replace("-", "_"): value.decode() for name, value in found}

    def hang_up_if_idle(self) -> None:
        if self.idle:
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RD)  # what has arrived by now can still be read

    def close(self) -> None:
        if self._late:
            self._sock.close()
        else:
            # Not at once: while the client is still sending, the kernel would take back what it has not read yet.
            close_graceful(self._sock)


class WebWorker(GeventWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's worker on gevent."""

    sockets: list[Any]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._clients: set[Client] = set()

    def patch(self) -> None:
        # The modules are patched since gunicorn.conf.py. gunicorn would do it once more, for half a second in which a
        # SIGTERM is lost: a worker listens to signals only after this.
        listeners = self.sockets
        self.sockets = [Socket(each.FAMILY, socket.SOCK_STREAM, fileno=each.sock.detach()) for each in listeners]

    def timeout_ctx(self) -> Any:
        return nullcontext()  # a Client has its own deadlines

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        connection = Client(client, self.cfg.keepalive)
        self._clients.add(connection)
        try:
            super().handle(listener, connection, addr)
        finally:
            self._clients.discard(connection)

    def handle_request(self, listener_name: Any, req: Any, sock: Client, addr: Any) -> None:
        sock.expect_body()
        if isinstance(req.body.reader, ChunkedReader):
            req.body.reader.limit_trailer_section = LARGEST_HEAD
        try:
            super().handle_request(listener_name, req, sock, addr)
        finally:
            sock.send_answer()
            if not discard_rest_of(req.body):
                sock.hang_up()
        sock.expect_request()

    def handle_exit(self, sig: Any, frame: Any) -> None:
        super().handle_exit(sig, frame)
        gevent.spawn_later(LINGER_SECONDS, self._hang_up_on_idle_clients)

    def _hang_up_on_idle_clients(self) -> None:
        for client in list(self._clients):
            client.hang_up_if_idle()

    def handle_error(self, _req: Any, client: Client, _addr: Any, exc: BaseException) -> None:
        """Have the app refuse what never became a request."""
        if isinstance(exc, Exception):
            with suppress(OSError):
                client.sendall(refused(self.wsgi, refusal_of(exc), client.told()))
                client.send_answer()


def discard_rest_of(body: Any) -> bool:
    """Read what the app did not want, so that its answer is heard and the next request begins where this one ends.

    Returns whether this is the end of it.
    """
    with suppress(OSError, ParseException):
        for _ in range(LARGEST_DISCARD // DISCARD_AT_ONCE):
            if not body.read(DISCARD_AT_ONCE):
                return True
    return False


def refusal_of(error: Exception) -> ApiError:
    """Return the answer to a request that could not be read. Its own text may quote a token."""
    if isinstance(error, ParseException) and not isinstance(error, OUR_FAULT):
        return malformed(type(error).__name__, status=STATUS.get(type(error), 400))
    failure = ApiError(ErrorCode.INTERNAL_ERROR, reason=repr(error))
    failure.__cause__ = error
    return failure


def refused(app: Any, failure: ApiError, told: dict[str, str]) -> bytes:
    """Return the app's answer as bytes."""
    answer: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        lines = [("Connection", "close"), ("Date", http_date()), *headers]
        answer[:] = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in lines), "", ""]

    environ = {
        "REQUEST_METHOD": "UNKNOWN",
        "PATH_INFO": "",
        "SERVER_NAME": "",
        "SERVER_PORT": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        REFUSAL: failure,
        **told,
    }
    body = b"".join(app(environ, start_response))
    return "\r\n".join(answer).encode("latin-1") + body
