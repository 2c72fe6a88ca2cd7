"""`make run` as a newcomer meets it, on a copy of the repository with state of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from service.local.postgres import embedded_postgres
from tests.support.paths import ROOT
from tests.support.serving import free_port


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the local stack reads, it shares this virtual environment."""
    copy = tmp_path / "checkout"
    for name in ("service", "migrations"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "wsgi.py", "gunicorn.conf.py", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, copy / name)
    (copy / ".venv").symlink_to(Path(sys.prefix))
    (copy / ".venv" / ".ready").touch()
    return copy


def make(checkout: Path, *arguments: str) -> str:
    command = ["make", "-C", str(checkout), "--no-print-directory", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def running(checkout: Path) -> Iterator[subprocess.Popen[str]]:
    # What configures a service elsewhere does not concern the local stack.
    elsewhere = {"SUPABASE_URL": "https://elsewhere.example", "DATABASE_URL": "postgresql://elsewhere.example/db"}
    environment = {**os.environ, **elsewhere, "PORT": str(free_port())}
    with subprocess.Popen(
        [sys.executable, "-m", "service.local.stack", "run"],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield process
        process.send_signal(signal.SIGINT)


def printed_curl(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return next(line for line in process.stdout if line.startswith("curl "))


def test_the_printed_curl_line_starts_a_sync_and_then_finds_it_active(running: subprocess.Popen[str]) -> None:
    command = printed_curl(running)

    first, second = (subprocess.check_output(["bash", "-c", command], text=True, cwd="/") for _ in range(2))

    assert '"status":"pending"' in first
    assert "409" in second.splitlines()[0]
    job_id = first.split('"job_id":"')[1].split('"')[0]
    assert job_id in second


def test_ctrl_c_stops_everything_and_the_data_stays(checkout: Path) -> None:
    port = str(free_port())
    answers = []
    for _ in range(2):
        process = subprocess.Popen(
            ["make", "run", f"PORT={port}"],
            cwd=checkout,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        answers.append(subprocess.check_output(["bash", "-c", printed_curl(process)], text=True))
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does
        process.communicate(timeout=30)
        assert not (checkout / ".local" / "postgres" / "postmaster.pid").exists()
    assert "200 OK" in answers[0]
    assert "409" in answers[1]


def test_make_token_prints_a_token_of_the_demo_user_and_nothing_else(checkout: Path) -> None:
    output = make(checkout, "token")
    secret = (checkout / ".local" / "jwt-secret").read_text()

    claims = jwt.decode(output.strip(), secret, algorithms=["HS256"], audience="authenticated")
    assert output == output.strip() + "\n"
    assert claims["exp"] > time.time()
    assert (checkout / ".local" / "jwt-secret").stat().st_mode & 0o077 == 0


def test_a_port_in_use_is_said_before_anything_starts(checkout: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        command = ["make", "-C", str(checkout), "run", f"PORT={port}"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode != 0
    assert f"port {port} cannot be used" in result.stderr
    assert not (checkout / ".local").exists()


def test_a_second_stack_of_the_same_checkout_is_refused(running: subprocess.Popen[str], checkout: Path) -> None:
    printed_curl(running)
    command = ["make", "-C", str(checkout), "run", f"PORT={free_port()}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode != 0
    assert "running already" in result.stderr
    assert running.poll() is None


def test_make_help_lists_every_target(checkout: Path) -> None:
    targets = {line.split()[1] for line in make(checkout, "help").splitlines()}
    assert {"run", "token", "migrate", "test", "check", "bench"} <= targets


def test_a_path_that_the_embedded_postgres_cannot_use_is_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="path with spaces"), embedded_postgres(tmp_path / "a b"):
        pass
