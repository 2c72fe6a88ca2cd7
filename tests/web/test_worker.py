"""gunicorn's worker as it is run: slow clients, requests that are none, signals, the database."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import urllib3

from tests.support.database import Sql, jobs_of, login_url
from tests.support.serving import START, Serve, Server, run_gunicorn
from tests.support.statements import Statements
from tests.support.tokens import SECRET
from tests.support.waiting import LAST_RESORT_SECONDS, wait_until

DASHBOARD = "https://dashboard.example"
HEAD = f"POST {START} HTTP/1.1\r\nHost: x\r\nOrigin: {DASHBOARD}\r\nX-Request-ID: mine\r\n"


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=LAST_RESORT_SECONDS)


def until_hung_up(connection: socket.socket) -> bytes:
    """Everything that comes; fails where the other side does not hang up."""
    received = b""
    with suppress(ConnectionResetError):
        while data := connection.recv(65536):
            received += data
    return received


def drip(connections: list[socket.socket], done: threading.Event) -> None:
    while not done.wait(0.3):
        for connection in connections:
            with suppress(OSError):
                connection.sendall(b" ")


def test_clients_that_never_finish_hold_up_nobody_and_are_cut_off(
    app_server: Server, bearer: dict[str, str], sql: Sql
) -> None:
    body = f"Authorization: {bearer['Authorization']}\r\nContent-Length: 9000\r\n\r\n{{"
    done = threading.Event()
    with ExitStack() as stack:
        heads, bodies, silent = ([stack.enter_context(connect(app_server)) for _ in range(60)] for _ in range(3))
        for connection in heads:
            connection.sendall(f"{HEAD}X-Endless: ".encode())
        for connection in bodies:
            connection.sendall((HEAD + body).encode())
        dripping = threading.Thread(target=drip, args=(heads + bodies, done))
        dripping.start()
        try:
            healthy = urllib3.request("GET", f"{app_server.url}/healthz", retries=False)
            started = urllib3.request("POST", app_server.url + START, headers=bearer, retries=False)
            answers = [until_hung_up(connection) for connection in (*heads, *bodies, *silent)]
        finally:
            done.set()
            dripping.join()

    assert (healthy.status, started.status) == (200, 200)
    assert {answer[:12] for answer in answers[60:120]} <= {b"HTTP/1.1 400", b""}
    assert {*answers[:60], *answers[120:]} == {b""}
    assert len(jobs_of(sql)) == 1, "half a body starts nothing"


@dataclass
class Answer:
    status: int
    headers: Message
    body: Any


def exchange(server: Server, sent: str) -> Answer:
    """Send text as it is and return the one answer, after which the server hangs up."""
    with connect(server) as connection:
        connection.sendall(sent.encode("latin-1"))
        received = until_hung_up(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    first, _, rest = head.partition(b"\r\n")
    headers = message_from_bytes(rest)
    assert len(body) == int(headers["Content-Length"]), received
    return Answer(int(first.split()[1]), headers, json.loads(body))


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A service for pages of two origins, which nothing here brings to its database, and its log."""
    log = tmp_path_factory.mktemp("listing") / "log"
    origins = f"{DASHBOARD}, http://localhost:3000"
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    with run_gunicorn(
        log, DATABASE_URL=nowhere, SUPABASE_JWT_SECRET=SECRET, CORS_ALLOWED_ORIGINS=origins, WEB_WORKERS="1"
    ) as server:
        yield server, log


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (HEAD + "".join(f"X-{number}: x\r\n" for number in range(101)) + "\r\n", 431),
        (HEAD + f"Authorization: Bearer {'x' * 33_000}\r\n\r\n", 431),
        (HEAD + "".join(f"X-{number}: {'x' * 30_000}\r\n" for number in range(50)) + "\r\n", 431),
        (f"{HEAD}X: a\x01b\r\n\r\n", 400),
        (f"{HEAD}Authorization Bearer secret\r\n\r\n", 400),
        (f"{HEAD}Content-Length: ten\r\n\r\n", 400),
        (f"{HEAD}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}", 400),
        (f"{HEAD}Transfer-Encoding: gzip\r\n\r\n", 400),
        (f"{HEAD}Transfer-Encoding: nonsense\r\n\r\n", 400),
        (f"{HEAD}Expect: nonsense\r\n\r\n", 400),
        (HEAD.replace(START, f"{START}?secret={'x' * 9000}", 1) + "\r\n", 414),
        (HEAD.replace("HTTP/1.1", "HTTP/3.1", 1) + "\r\n", 400),
        (HEAD.replace("POST", "p", 1) + "\r\n", 400),
        ("NONSENSE\r\n\r\n", 400),
        ("\x16\x03\x01\x02\r\n", 400),
    ],
    ids=range(15),
)
def test_what_is_no_request_is_refused_in_the_shape_of_every_error(
    listing: tuple[Server, Path], sent: str, status: int
) -> None:
    server, log = listing
    answer = exchange(server, sent)

    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Connection"] == "close"
    assert answer.headers["Vary"] == "Origin"
    assert answer.headers["X-Request-ID"]
    if HEAD.partition("\r\n")[2] in sent and status != 414:  # a first line that is too long is all that is read
        assert answer.headers["Access-Control-Allow-Origin"] == DASHBOARD
        assert answer.headers["X-Request-ID"] == "mine"
    assert (answer.body["code"], answer.body["fields"]) == ("bad_request", {})
    assert answer.body["error"].endswith(".")
    assert "secret" not in log.read_text()


def test_pages_of_any_origin_may_read_it_where_any_may_call(app_server: Server) -> None:
    answer = exchange(app_server, HEAD + "".join(f"X-{number}: x\r\n" for number in range(101)) + "\r\n")

    assert answer.status == 431
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Expose-Headers"] == "x-request-id, retry-after, etag, allow"
    assert answer.headers["Vary"] is None


def test_a_refusal_ends_the_connection_and_what_follows_on_it_is_not_read(
    app_server: Server, bearer: dict[str, str], sql: Sql
) -> None:
    smuggled = f"POST {START} HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer['Authorization']}\r\n\r\n"
    assert exchange(app_server, f"{HEAD}X: a\x01b\r\n\r\n{smuggled}").status == 400
    assert jobs_of(sql) == []


def test_an_answer_that_comes_before_the_body_is_read_reaches_whoever_is_still_sending(
    app_server: Server, bearer: dict[str, str], sql: Sql
) -> None:
    head = f"{HEAD}Authorization: {bearer['Authorization']}\r\nConnection: close\r\nContent-Length: 3000000\r\n\r\n"
    answer = exchange(app_server, head + " " * 3_000_000)

    assert (answer.status, answer.body["code"]) == (413, "body_too_large")
    assert jobs_of(sql) == []


def test_every_line_of_a_request_has_its_own_id_however_many_are_under_way(
    app_server: Server, bearer: dict[str, str]
) -> None:
    pool = urllib3.PoolManager(maxsize=30)

    def start(number: int) -> int:
        headers = {**bearer, "X-Request-ID": f"r-{number}"}
        # Every other is refused, with a line that says why.
        return pool.request("POST", app_server.url + START, headers=headers, body=b"[1" if number % 2 else b"{}").status

    with ThreadPoolExecutor(30) as threads:
        statuses = dict(enumerate(threads.map(start, range(120))))

    lines = [json.loads(line) for line in app_server.log.read_text().splitlines() if '"request"' in line]
    assert {line["request_id"]: line["status"] for line in lines if line["request_id"].startswith("r-")} == {
        f"r-{number}": status for number, status in statuses.items()
    }
    assert sorted(set(statuses.values())) == [200, 400, 409]


def test_a_connection_that_postgres_has_closed_is_replaced_without_an_error(
    app_server: Server, bearer: dict[str, str], sql: Sql
) -> None:
    for _ in range(5):
        urllib3.request("POST", app_server.url + START, headers=bearer)
        closed = sql.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'historical_sync_service'"
            " and datname = current_database()"
        ).fetchall()
        assert closed
        assert urllib3.request("POST", app_server.url + START, headers=bearer).status == 409


def test_a_frozen_database_holds_no_request_for_ever(
    serve: Serve, bearer: dict[str, str], statements: Statements, sql: Sql
) -> None:
    url = login_url(statements.url, "historical_sync_service")
    with serve(DATABASE_URL=url, DATABASE_POOL_TIMEOUT="0.3", DATABASE_STATEMENT_TIMEOUT="0.3") as server:
        urllib3.request("GET", f"{server.url}/readyz")
        statements.silent = True
        frozen = urllib3.request("POST", server.url + START, headers=bearer, retries=False)
        statements.silent = False

        assert (frozen.status, frozen.json()["code"]) == (503, "database_unavailable")
        assert urllib3.request("POST", server.url + START, headers=bearer, retries=False).status in (200, 409)
    assert len(jobs_of(sql)) == 1


def test_a_stop_answers_the_request_under_way_and_leaves_idle_connections(
    serve: Serve, bearer: dict[str, str], sql: Sql, database_url: str, agency_id: UUID, tmp_path: Path
) -> None:
    idle = urllib3.PoolManager()
    with serve() as server, psycopg.connect(database_url) as other, ThreadPoolExecutor(1) as threads:
        idle.request("GET", f"{server.url}/healthz")
        other.execute("insert into public.historical_sync_jobs (agency_id, date_to) values (%s, now())", [agency_id])
        under_way = threads.submit(urllib3.request, "POST", server.url + START, headers=bearer, retries=False)
        blocked = "select from pg_locks where not granted and locktype = 'transactionid'"
        wait_until(lambda: sql.execute(blocked).rowcount)
        server.process.send_signal(signal.SIGTERM)
        other.rollback()

        assert under_way.result().status == 200
        assert server.process.wait(LAST_RESORT_SECONDS) == 0
    assert len(jobs_of(sql)) == 1
    assert '"level": "error"' not in (tmp_path / "log").read_text()


def test_nothing_but_gunicorn_is_patched() -> None:
    # The commands and the tests run the same app, on the threads of the standard library.
    said = "import sys, service; sys.exit('gevent' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", said], check=False).returncode == 0


@pytest.mark.parametrize(
    ("environment", "reached"),
    [
        ({}, {"127.0.0.1"}),
        ({"HOST": "127.0.0.2"}, {"127.0.0.2"}),
        ({"HOST": "0.0.0.0"}, {"127.0.0.1", "127.0.0.2"}),
        ({"HOST": "::"}, {"127.0.0.1", "127.0.0.2", "::1"}),
    ],
)
def test_it_listens_on_loopback_alone_unless_told_otherwise(
    serve: Serve, environment: dict[str, str], reached: set[str]
) -> None:
    def answers(address: str) -> bool:
        try:
            socket.create_connection((address, server.port), timeout=5).close()
        except OSError:
            return False
        return True

    with serve(**environment, WEB_WORKERS="1") as server:
        assert {address for address in ("127.0.0.1", "127.0.0.2", "::1") if answers(address)} == reached
