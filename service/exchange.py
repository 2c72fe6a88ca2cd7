"""HTTP GET with one deadline over the whole exchange and one bound on the size of the answer.

The timeouts of a socket, and so of urllib3, are for each wait: a server that sends a byte now and then outlasts them
all, be it in the status line, a header, a chunk's size, a trailer or the body. So an exchange has a thread of its own:
whoever asked waits for it until the deadline and then hangs up, which ends the thread too.

Only whoever asked gives the connection back or hangs it up, and never does both. So no connection is hung up that
serves somebody else by now, and none is used again that was hung up.
"""

import io
import os
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Mapping
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import parse_url

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# For each address of a host that may have several; half of the deadline where that is less.
LONGEST_CONNECT_SECONDS = 5.0
READ_BYTES = 64 * 1024
MIB = 1024 * 1024


class ExchangeError(Exception):
    """There is no whole answer. The message is a clause in plain words; `cause` is for the log."""

    def __init__(self, message: str, cause: str) -> None:
        super().__init__(message)
        self.cause = cause


class AnswerTooLargeError(ExchangeError):
    """The body has more bytes, unpacked, than are taken."""


@dataclass(frozen=True)
class Answer:
    """A whole answer, its body unpacked. The headers are found by their names in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytearray


class _Line:
    """A second handle on the socket of a connection, by which another thread can hang up.

    The connection's own handle will not do: the thread that uses it may replace it (for TLS) or close it meanwhile.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._hung_up = False

    def hold(self, connected: socket.socket) -> None:
        with self._lock:
            self._socket = socket.socket(fileno=os.dup(connected.fileno()))
            self._shut()

    def hang_up(self) -> None:
        """Shut the socket, also one that is still to come: whoever uses it finds its end."""
        with self._lock:
            self._hung_up = True
            self._shut()

    def _shut(self) -> None:
        if self._hung_up and self._socket is not None:
            with suppress(OSError):  # the server was faster
                self._socket.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None


class _FairReader(io.RawIOBase):
    """Reads a socket, and gives others a turn before.

    Under gevent nobody else has one while bytes flood in, and so whoever waits for the deadline would never see it.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        time.sleep(0)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fp = io.BufferedReader(_FairReader(self.fp.detach()))

    def _read_status(self) -> tuple[str, int, str]:
        """Read the status line of the answer. Interim ones may come before (RFC 9110, section 15.2)."""
        # http.client itself passes over 100 alone.
        version, status, reason = super()._read_status()  # type: ignore[misc]  # http.client's own
        while 101 < status < 200:
            while self.fp.readline(READ_BYTES).strip():
                pass
            version, status, reason = super()._read_status()  # type: ignore[misc]
        return version, status, reason


class _Connection(HTTPConnection):
    """Shows its socket before anything is said on it: a TLS handshake can drip as well."""

    response_class = _Response
    line: _Line

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        self.line.hold(connected)
        return connected


class _SecureConnection(_Connection, HTTPSConnection):
    """The same over TLS. urllib3 verifies the certificate unless told otherwise."""


class Origin:
    """What lies under a URL, to be asked for with GET. Thread-safe; keeps its connections."""

    def __init__(self, url: str, *, connections: int = 0) -> None:
        """Keep so many idle connections."""
        self._url = urlsplit(url)
        self._connections = connections
        self._idle: list[_Connection] = []
        weakref.finalize(self, _close_all, self._idle)

    def get(
        self, target: str = "", headers: Mapping[str, str] | None = None, *, largest: int, seconds: float
    ) -> Answer:
        """Ask for `target`, a path and query below the URL. A redirect is an answer like any other.

        Raises ExchangeError, at the latest after so many seconds, and where a body has more than `largest` bytes.
        """
        conn = self._idle_connection() or self._new_connection(seconds)
        conn.line = _Line()
        answer: Future[Answer] = Future()
        exchange = (conn, self._url.path + target, headers or {}, largest, seconds, answer)
        threading.Thread(target=self._converse, args=exchange, name="exchange", daemon=True).start()
        wait([answer], seconds)
        if answer.cancel():  # a future has a result or is cancelled, whatever comes at the same time
            conn.line.hang_up()
            raise ExchangeError(f"it did not answer in full within {seconds:g} seconds", cause="the deadline")
        result = answer.result()
        # Where the protocol says that there is no body, one that comes all the same would be the next answer's.
        if result.status >= 200 and result.status not in (204, 304):
            self._keep(conn)
        else:
            conn.close()
        return result

    def _converse(
        self,
        conn: _Connection,
        target: str,
        headers: Mapping[str, str],
        largest: int,
        seconds: float,
        answer: Future[Answer],
    ) -> None:
        try:
            with conn.line:
                said = self._ask(conn, target, headers, largest, seconds)
            answer.set_result(said)
        except Exception as error:  # whatever it is, it is for whoever asked; InvalidStateError: nobody waits any more
            conn.close()
            with suppress(InvalidStateError):
                answer.set_exception(_explained(error))

    def _ask(self, conn: _Connection, target: str, headers: Mapping[str, str], largest: int, seconds: float) -> Answer:
        if conn.sock is None:
            conn.connect()
        else:
            conn.line.hold(conn.sock)
        conn.timeout = seconds
        # parse_url escapes what a request line cannot carry.
        conn.request("GET", parse_url(target).request_uri, headers=headers, preload_content=False)
        with closing(conn.getresponse()) as response:
            return Answer(response.status, response.headers, self._read(response, largest))

    def _read(self, response: BaseHTTPResponse, largest: int) -> bytearray:
        body = bytearray()
        while part := response.read1(READ_BYTES):  # unpacks no more than that at once
            body += part
            if len(body) > largest:
                raise AnswerTooLargeError(f"larger than {largest / MIB:g} MiB", cause=f"after {len(body)} bytes")
        return body

    def _idle_connection(self) -> _Connection | None:
        with suppress(IndexError):
            while not (conn := self._idle.pop()).is_connected:
                conn.close()
            return conn
        return None

    def _new_connection(self, seconds: float) -> _Connection:
        kind = _SecureConnection if self._url.scheme == "https" else _Connection
        timeout = min(LONGEST_CONNECT_SECONDS, seconds / 2)
        return kind(self._url.hostname or "", self._url.port, timeout=timeout)

    def _keep(self, conn: _Connection) -> None:
        if len(self._idle) < self._connections and conn.sock is not None:
            self._idle.append(conn)
        else:
            conn.close()


def _close_all(connections: list[_Connection]) -> None:
    for conn in connections:
        conn.close()


def _explained(error: Exception) -> Exception:
    if isinstance(error, OSError | HTTPException | HTTPError):
        # Named only: the text of some quotes what the server has said, and that can be the request and its key.
        kinds = [type(each).__name__ for each in (error, error.__cause__ or error.__context__) if each]
        return ExchangeError(_in_plain_words(error.__cause__ or error), cause=" from ".join(kinds))
    return error


def _in_plain_words(cause: BaseException) -> str:
    match cause:
        case socket.gaierror() | LocationParseError():
            return "its name is not found"
        case ssl.SSLCertVerificationError():
            return "its certificate is not trusted"
        case ssl.SSLError():
            return "the secure connection failed"
        case TimeoutError():
            return "it does not answer in time"
        case ConnectionRefusedError():
            return "it refuses connections"
        case ConnectionError() | IncompleteRead():
            return "the connection broke off"
        case OSError():
            return "no connection could be made"
    return "its answer is garbled"
