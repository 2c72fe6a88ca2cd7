"""The service as it is run: gunicorn with the repository's configuration, over real HTTP."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
import urllib3
from urllib3.util.wait import wait_for_read

from tests.support.database import Sql, jobs_of
from tests.support.paths import ROOT
from tests.support.serving import START, Serve, Server, children, free_port
from tests.support.waiting import LAST_RESORT_SECONDS, wait_until


def test_it_serves_on_port_and_logs_json(
    serve: Serve,
    bearer: dict[str, str],
    sql: Sql,
    tmp_path: Path,
) -> None:
    with serve() as server:
        created = urllib3.request("POST", server.url + START, headers=bearer, body=b'{"date_from": "2026-01-01"}')
        conflict = urllib3.request("POST", server.url + START, headers={**bearer, "X-Request-ID": "c-1"})
        server.process.terminate()
        assert server.process.wait(LAST_RESORT_SECONDS) == 0

    [job] = jobs_of(sql)
    assert created.json() == {"job_id": str(job["id"]), "status": "pending"}
    assert (conflict.status, conflict.json()["job"]["id"]) == (409, str(job["id"]))
    lines = (tmp_path / "log").read_text().splitlines()
    requests = [json.loads(line) for line in lines if '"event": "request"' in line]
    assert [line["request_id"] for line in requests if line["status"] == 409] == ["c-1"]
    token = bearer["Authorization"].removeprefix("Bearer ")
    assert not any(token in line for line in lines)


def test_a_raw_client_gets_an_answer_it_can_parse_and_keeps_its_connection(
    serve: Serve,
    bearer: dict[str, str],
) -> None:
    oversized = b"x" * 40_000
    with serve() as server, socket.create_connection(("127.0.0.1", server.port), timeout=LAST_RESORT_SECONDS) as raw:
        answers = []
        for method, body in (("POST", oversized), ("OPTIONS", b""), ("POST", b"{}"), ("POST", b"{}")):
            head = f"{method} {START} HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer['Authorization']}\r\n"
            raw.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answers.append(read_response(raw))
        chunked = "Transfer-Encoding: chunked\r\n\r\n9c40\r\n"
        raw.sendall(
            f"POST {START} HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer['Authorization']}\r\n{chunked}".encode()
        )
        raw.sendall(oversized + b"\r\n0\r\n\r\n")
        answers.append(read_response(raw))

    assert answers == [413, 200, 200, 409, 413]


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("Content-Length: 60", b""),
        ("Content-Length: 60", b"{}"),
        ("Transfer-Encoding: chunked", b""),
        ("Transfer-Encoding: chunked", b"2\r\n{}"),
        ("Transfer-Encoding: chunked", b"ZZ\r\n{}\r\n0\r\n\r\n"),
    ],
)
def test_a_body_that_breaks_off_or_is_malformed_starts_nothing(
    app_server: Server, bearer: dict[str, str], sql: Sql, head: str, body: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", app_server.port), timeout=LAST_RESORT_SECONDS) as raw:
        authorization = f"Authorization: {bearer['Authorization']}"
        raw.sendall(f"POST {START} HTTP/1.1\r\nHost: x\r\n{authorization}\r\n{head}\r\n\r\n".encode() + body)
        raw.shutdown(socket.SHUT_WR)
        assert read_response(raw) == 400
    assert jobs_of(sql) == []


def read_response(raw: socket.socket) -> int:
    received = b""
    while b"\r\n\r\n" not in received:
        received += raw.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
    while len(body) < length:
        body += raw.recv(65536)
    return int(head.split()[1])


def test_a_reload_under_requests_loses_none(
    serve: Serve,
    bearer: dict[str, str],
) -> None:
    statuses: list[int] = []
    done = threading.Event()

    def call(url: str) -> None:
        pool = urllib3.PoolManager()
        while not done.is_set():
            statuses.append(pool.request("POST", url, headers=bearer, retries=False).status)

    with serve() as server:
        threads = [threading.Thread(target=call, args=(server.url + START,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        before = children(server.process.pid)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not before & children(server.process.pid))
        done.set()
        for thread in threads:
            thread.join()

    assert len(statuses) > len(threads)
    assert sorted(set(statuses)) == [200, 409]
    assert statuses.count(200) == 1


def test_an_update_loses_no_request_of_connections_that_are_kept(serve: Serve, bearer: dict[str, str]) -> None:
    """As on Kubernetes: first new connections go to the new pod, then the old one gets SIGTERM."""
    statuses: list[int] = []
    done = threading.Event()

    def call() -> None:
        with closing(HTTPConnection("127.0.0.1", old.port, timeout=LAST_RESORT_SECONDS)) as connection:
            while not done.is_set():
                if connection.sock is None or wait_for_read(connection.sock, 0):  # hung up on
                    connection.close()
                    connection.port = target.port
                connection.request("POST", START, headers=bearer)
                answer = connection.getresponse()
                answer.read()
                statuses.append(answer.status)

    def answers(number: int) -> None:
        wanted = len(statuses) + number
        wait_until(lambda: len(statuses) > wanted or any(each.done() for each in calling))

    with serve() as old, serve() as new, ThreadPoolExecutor(4) as clients:
        target = old
        calling = [clients.submit(call) for _ in range(4)]
        answers(20)
        target = new
        answers(20)
        old.process.terminate()
        assert old.process.wait(LAST_RESORT_SECONDS) == 0
        answers(20)
        done.set()
        for each in calling:
            each.result()

    assert sorted(set(statuses)) == [200, 409]
    assert statuses.count(200) == 1


def test_a_bad_environment_stops_the_start_with_one_message() -> None:
    result = subprocess.run(
        [Path(sys.executable).with_name("gunicorn"), "wsgi:app"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PORT": str(free_port()), "DATABASE_URL": "hunter2", "LOG_LEVEL": "loud"},
        capture_output=True,
        text=True,
        timeout=LAST_RESORT_SECONDS,
        check=False,
    )

    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert "hunter2" not in result.stderr
    for name in ("DATABASE_URL", "SUPABASE_URL", "SUPABASE_JWT_SECRET", "LOG_LEVEL"):
        assert name in result.stderr
