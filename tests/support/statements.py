"""A relay in front of Postgres that counts the round trips asked of it, can fall silent, and can pose as a pooler."""

import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

from psycopg.conninfo import conninfo_to_dict

# What makes a server answer and a client wait (PostgreSQL documentation, "Message Formats"): Query and Sync.
ROUND_TRIPS = (b"Q", b"S")

# BackendKeyData: its length, the number of the process (four bytes), a secret.
KEY_DATA = re.compile(rb"(K\0\0\0\x0c).(...)", re.DOTALL)


class Count:
    def __init__(self) -> None:
        self.round_trips = 0


class Statements:
    """Relays to the server of `database_url`; `url` connects through it."""

    def __init__(self, database_url: str) -> None:
        self._target = conninfo_to_dict(database_url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._count = Count()
        self.silent = False
        # As a pooler in transaction mode does: another process answers than the one that was announced.
        self.announces_another_process = False
        self._sockets: list[socket.socket] = []
        user, password = self._target.get("user", ""), self._target.get("password") or ""
        port = self._listener.getsockname()[1]
        self.url = f"postgresql://{user}:{password}@127.0.0.1:{port}/{self._target['dbname']}?sslmode=disable"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    @contextmanager
    def counted(self) -> Iterator[Count]:
        self._count = Count()
        yield self._count

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = self._connect()
                self._sockets += [client, server]
                threading.Thread(target=self._relay_requests, args=(client, server), daemon=True).start()
                threading.Thread(target=self._relay_answers, args=(server, client), daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = str(self._target.get("host") or "localhost"), int(self._target.get("port") or 5432)
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _relay_requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), client.makefile("rb") as stream:
            (length,) = struct.unpack("!i", stream.read(4))
            server.sendall(struct.pack("!i", length) + stream.read(length - 4))
            while kind := stream.read(1):
                (length,) = struct.unpack("!i", stream.read(4))
                rest = stream.read(length - 4)
                # Before it is sent: once the answer is there, whoever counts may have stopped.
                self._count.round_trips += kind in ROUND_TRIPS
                server.sendall(kind + struct.pack("!i", length) + rest)
        server.close()

    def _relay_answers(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if self.announces_another_process:
                    data = KEY_DATA.sub(lambda found: found[1] + b"\x7f" + found[2], data)
                if not self.silent:
                    client.sendall(data)
            client.shutdown(socket.SHUT_WR)
