"""The service as processes of this checkout: gunicorn and the processor, started and stopped by a local stack."""

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import urllib3

from service.local.checkout import ROOT
from service.settings import Settings

START_SECONDS = 120  # on a machine that is busy with other things


def gunicorn(
    port: int, environment: dict[str, str], *, app: str = "wsgi:app", stderr: Any = None
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Run gunicorn as in production; on loopback, its default."""
    return child(["gunicorn", app], {**environment, "PORT": str(port)}, stderr=stderr)


def processor(environment: dict[str, str]) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return child(["flask", "--app", "wsgi", "process-historical-sync", "--watch"], environment)


@contextmanager
def child(command: list[Any], environment: dict[str, str], *, stderr: Any = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of this virtual environment until the block ends."""
    process = subprocess.Popen(
        [Path(sys.executable).parent / command[0], *command[1:]],
        cwd=ROOT,
        env={**_clean_environment(), **environment},
        # Ctrl-C in a terminal reaches the whole group; the order of stopping is ours.
        start_new_session=True,
        stderr=stderr,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return when `url` answers 200."""
    wait_until_up("the service", process, lambda: _answers(url))


def wait_until_up(name: str, process: subprocess.Popen[bytes], is_up: Callable[[], bool]) -> None:
    """Return when a process is up. Exits if it ends first or is not within START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    while not is_up():
        if process.poll() is not None:
            sys.exit(f"{name} did not start (exit code {process.returncode}): the lines above say why")
        if time.monotonic() > deadline:
            sys.exit(f"{name} was not up within {START_SECONDS} seconds: the lines above may say why")
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        # A connection kept alive would be one that gunicorn lingers for when it stops.
        return urllib3.request("GET", url, headers={"Connection": "close"}, retries=False, timeout=2).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def require_free_port(port: int) -> None:
    """Exit if something serves there already, a stack that was killed for one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            why = "is in use by another program" if error.errno == errno.EADDRINUSE else "is not open to you"
            sys.exit(f"port {port} {why}: choose another one, such as `make run PORT={_other_port(port)}`")


def _other_port(port: int) -> int:
    """Return one that everybody may use."""
    return port + 1 if 1024 <= port < 65535 else 8001


def _clean_environment() -> dict[str, str]:
    """Return the environment without what configures the service: the local stack configures it itself."""
    ours = {name.upper() for name in Settings.model_fields} | {"GUNICORN_CMD_ARGS", "WEB_CONCURRENCY"}
    return {name: value for name, value in os.environ.items() if name not in ours}
