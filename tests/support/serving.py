"""gunicorn as it is run, in a process of its own."""

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import psutil
import urllib3

from tests.support.paths import ROOT
from tests.support.waiting import wait_until

START = "/functions/v1/start-historical-sync"


class Server:
    def __init__(self, process: subprocess.Popen[str], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log
        self.url = f"http://127.0.0.1:{port}"


Serve = Callable[..., AbstractContextManager[Server]]


def free_port() -> int:
    """Choose a port that stays free until it is used: none of those that the system itself gives to connections."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextmanager
def run_gunicorn(log: Path, app: str = "wsgi:app", **environment: str) -> Iterator[Server]:
    """Run it as configured, on a port of its own unless PORT names one."""
    port = int(environment.get("PORT") or free_port())
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("gunicorn"), app],
            cwd=ROOT,
            # Killed, it cannot clear away the folder of its counts.
            env={"PATH": os.environ["PATH"], "TMPDIR": str(log.parent), "PORT": str(port), **environment},
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
        try:
            host = {"0.0.0.0": "127.0.0.1", "::1": "[::1]"}.get(
                address := environment.get("HOST", "127.0.0.1"), address
            )
            wait_until(lambda: process.poll() is not None or _answers(f"http://{host}:{port}/healthz"))
            assert process.poll() is None, log.read_text()
            yield Server(process, port, log)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and its workers, which would look for their master later
            process.wait()


def _answers(url: str) -> bool:
    try:
        return urllib3.request("GET", url, retries=False, timeout=2).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def children(pid: int) -> set[int]:
    return {child.pid for child in psutil.Process(pid).children()}
