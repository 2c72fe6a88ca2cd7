"""`make run` as a newcomer meets it, on a copy of the repository with state of its own."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jwt
import psutil
import pytest
import urllib3

from service.local.demo import add_demo_agency
from service.local.postgres import embedded_postgres
from service.local.stack import read_port
from service.migrate import migrate
from tests.support.catalog import connect
from tests.support.paths import ROOT
from tests.support.serving import free_port
from tests.support.waiting import wait_until


@pytest.fixture
def checkout(temporary_folder: Path) -> Iterator[Path]:
    """A copy of what the local stack reads, it shares this virtual environment.

    It is not below pytest's folder, which another run of the tests closes to the user of the embedded Postgres.
    """
    with tempfile.TemporaryDirectory(dir=temporary_folder) as folder:
        yield copy_to(Path(folder) / "checkout")


def copy_to(copy: Path) -> Path:
    for name in ("service", "migrations"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "wsgi.py", "gunicorn.conf.py", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, copy / name)
    (copy / ".venv").symlink_to(Path(sys.prefix))
    for made in (".installed", ".ready"):
        (copy / ".venv" / made).touch()
    return copy


def make(checkout: Path, *arguments: str) -> str:
    command = ["make", "-C", str(checkout), "--no-print-directory", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextmanager
def making_run(checkout: Path) -> Iterator[subprocess.Popen[str]]:
    """A `make run` in a session of its own, as in a terminal; what is left of it in the end is interrupted."""
    # What configures a service elsewhere does not concern the local stack.
    elsewhere = {"SUPABASE_URL": "https://elsewhere.example", "DATABASE_URL": "postgresql://elsewhere.example/db"}
    with subprocess.Popen(
        ["make", "run", f"PORT={free_port()}"],
        cwd=checkout,
        env={**os.environ, **elsewhere},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                interrupt(process)


@pytest.fixture
def running(checkout: Path) -> Iterator[subprocess.Popen[str]]:
    with making_run(checkout) as process:
        yield process


def interrupt(process: subprocess.Popen[str]) -> None:
    """Do what a terminal does at Ctrl-C."""
    os.killpg(process.pid, signal.SIGINT)


def is_gone_when_interrupted(process: subprocess.Popen[str]) -> bool:
    process.poll()
    try:
        interrupt(process)
    except ProcessLookupError:
        return True
    return False


def printed_curls(process: subprocess.Popen[str]) -> list[str]:
    """What the stack prints to copy: how to start a sync, and how to watch it."""
    assert process.stdout is not None
    lines = (line for line in process.stdout if line.startswith("curl "))
    return [next(lines, ""), next(lines, "")]


@contextmanager
def paused_processor(process: subprocess.Popen[str]) -> Iterator[None]:
    """However long a test takes, the job that it starts stays where it is."""
    children = psutil.Process(process.pid).children(recursive=True)
    [processor] = [each for each in children if "process-historical-sync" in each.cmdline()]
    processor.suspend()
    try:
        yield
    finally:
        processor.resume()


def ask(command: str) -> str:
    return subprocess.check_output(["bash", "-c", command], text=True, cwd="/")


def job_id_of(answer: str) -> str:
    return answer.split('"job_id":"')[1].split('"')[0]


def test_the_printed_curl_line_starts_a_sync_and_then_finds_it_active(running: subprocess.Popen[str]) -> None:
    start, _ = printed_curls(running)
    with paused_processor(running):
        first, second = ask(start), ask(start)

    assert '"status":"pending"' in first
    assert "409" in second.splitlines()[0]
    assert job_id_of(first) in second


def test_what_it_says_to_open_is_the_page_where_the_demo_user_is_signed_in(running: subprocess.Popen[str]) -> None:
    assert running.stdout is not None
    said = iter(running.stdout)
    assert next(line for line in said if " up" in line) == "The service is up, and so is the processor.\n"
    page = next(line for line in said if line.startswith("Open ")).split()[1]
    assert "<title>" in urllib3.request("GET", page).data.decode()
    assert urllib3.request("GET", f"{page}sync-page/config.json").json()["demo"] is True
    from_the_page = {"Sec-Fetch-Site": "same-origin"}
    token = urllib3.request("POST", f"{page}sync-page/demo-session", headers=from_the_page).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert urllib3.request("GET", f"{page}functions/v1/get-sync-status", headers=headers).status == 200


def test_ctrl_c_stops_everything_and_the_data_stays(checkout: Path) -> None:
    with making_run(checkout) as process:
        start, _ = printed_curls(process)
        started = ask(start)
        interrupt(process)
    assert not (checkout / ".local" / "postgres" / "postmaster.pid").exists()

    with making_run(checkout) as process:
        _, status = printed_curls(process)
        assert job_id_of(started) in ask(status)
        wait_until(lambda: is_gone_when_interrupted(process))  # again and again: somebody has no patience
    assert not (checkout / ".local" / "postgres" / "postmaster.pid").exists()


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
    assert f"port {port} is in use by another program: choose another one, such as `make run PORT=" in result.stderr
    assert [path.name for path in (checkout / ".local").iterdir()] == ["lock"]


@pytest.mark.parametrize("text", ["0", "65536", "http", "80 80", "²"])
def test_a_port_that_is_none_is_said_with_what_it_must_be(text: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(f"PORT is {text!r} and must be a number from 1 to 65535")):
        read_port(text)


def test_a_second_stack_of_the_same_checkout_is_refused_and_told_how_to_stop_the_first(
    running: subprocess.Popen[str], checkout: Path
) -> None:
    start, _ = printed_curls(running)
    [port] = re.findall(r":(\d+)/", start)
    command = ["make", "-C", str(checkout), "run", f"PORT={port}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode != 0
    [process] = re.findall(r"running already, as process (\d+): .* with `kill \1`", result.stderr)
    assert int(process) in {child.pid for child in psutil.Process(running.pid).children(recursive=True)}
    assert "PORT=" not in result.stderr
    assert running.poll() is None


def test_nothing_is_said_to_be_up_where_the_processor_does_not_start(checkout: Path) -> None:
    with (checkout / "service" / "processor" / "dispatcher.py").open("a") as module:
        module.write("\n\nDispatcher.run = lambda *_, **__: exit(3)\n")
    command = ["make", "-C", str(checkout), "run", f"PORT={free_port()}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode != 0
    assert "the processor did not start (exit code 3)" in result.stderr
    assert " up" not in result.stdout


def test_make_help_lists_every_target(checkout: Path) -> None:
    targets = {line.split()[1] for line in make(checkout, "help").splitlines()}
    assert {"run", "token", "psql", "migrate", "test", "check", "bench"} <= targets


@pytest.fixture
def database_url(checkout: Path) -> Iterator[str]:
    """The database of a local stack, of which nothing else runs."""
    with embedded_postgres(checkout / ".local" / "postgres") as server:
        with connect(server.get_uri()) as conn:
            conn.execute("create database historical_sync")
        yield server.get_uri(database="historical_sync")


def psql(checkout: Path, statements: str) -> subprocess.CompletedProcess[str]:
    """Type into `make psql`; the environment is that of somebody who has another server."""
    return subprocess.run(
        ["make", "-s", "-C", str(checkout), "psql"],
        input=statements,
        env={**os.environ, "PGHOST": "elsewhere.example", "PGUSER": "me", "PGOPTIONS": "-c no_such=setting"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_psql_asks_the_database_of_the_local_stack(database_url: str, checkout: Path) -> None:
    result = psql(checkout, "select current_database(), 6 * 7;\n")
    assert (result.returncode, result.stderr) == (0, "")
    assert "historical_sync  |       42" in result.stdout


def test_make_psql_says_what_to_do_where_the_local_stack_does_not_run(checkout: Path) -> None:
    result = psql(checkout, "select 1;\n")
    assert result.stdout == ""
    assert "`make run` starts it" in result.stderr.splitlines()[0]
    assert not (checkout / ".local").exists()


def test_the_queries_of_the_documentation_run_in_psql_as_they_are(database_url: str, checkout: Path) -> None:
    migrate(database_url)
    text = (ROOT / "docs/data.md").read_text()
    [setting] = re.findall(r"^`(\\set .+?)`", text, re.MULTILINE)
    with connect(database_url) as conn:
        add_demo_agency(conn)
        conn.execute(
            """
            insert into public.calls (
                agency_id, ultravox_call_id, source, created_at, joined_at, ended_at, end_reason, data
            )
            select id, 'x', 'historical_sync', now(), now(), now() + interval '3 minutes', 'hangup',
                '{"voice": "Mark"}'
            from public.agencies
            """
        )
    result = psql(checkout, "\n".join([setting, *re.findall(r"```sql\n(.+?)```", text, re.DOTALL)]))
    assert result.stderr == ""
    assert result.stdout.count("(1 row)") == 3
    assert all(word in result.stdout for word in ("3.0", "hangup", "Mark"))


def test_a_path_that_the_embedded_postgres_cannot_use_is_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="path with spaces"), embedded_postgres(tmp_path / "a b"):
        pass
