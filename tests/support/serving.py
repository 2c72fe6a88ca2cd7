"""gunicorn as it is run, in a process of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import urllib3

from tests.support.paths import ROOT

START = "/functions/v1/start-historical-sync"


class Server:
    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"


Serve = Callable[..., AbstractContextManager[Server]]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def run_gunicorn(log: Path, **environment: str) -> Iterator[Server]:
    port = free_port()
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("gunicorn"), "wsgi:app"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PORT": str(port), **environment},
            stderr=stderr,
            text=True,
        )
        try:
            host = {"0.0.0.0": "127.0.0.1", "::1": "[::1]"}.get(
                address := environment.get("HOST", "127.0.0.1"), address
            )
            wait_for(f"http://{host}:{port}/healthz")
            yield Server(process, port)
        finally:
            process.kill()
            process.wait()


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if urllib3.request("GET", url, retries=False, timeout=2).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            time.sleep(0.02)
    pytest.fail(f"{url} did not answer")


def children(pid: int) -> set[int]:
    import psutil

    return {child.pid for child in psutil.Process(pid).children()}
