"""The service as processes of this checkout: gunicorn and the processor, started and stopped by a local stack."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
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
    """Return when `url` answers 200. Exits if the process ends first or nothing comes within START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"the service did not start (exit code {process.returncode})")
        try:
            # A connection kept alive would be one that gunicorn lingers for when it stops.
            headers = {"Connection": "close"}
            if urllib3.request("GET", url, headers=headers, retries=False, timeout=2).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            time.sleep(0.05)
    sys.exit(f"{url} did not answer within {START_SECONDS} seconds")


def require_free_port(port: int) -> None:
    """Exit if something serves there already, a stack that was killed for one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            sys.exit(f"port {port} cannot be used: {error.strerror} (PORT= names another)")


def _clean_environment() -> dict[str, str]:
    """Return the environment without what configures the service: the local stack configures it itself."""
    ours = {name.upper() for name in Settings.model_fields} | {"GUNICORN_CMD_ARGS", "WEB_CONCURRENCY"}
    return {name: value for name, value in os.environ.items() if name not in ours}
