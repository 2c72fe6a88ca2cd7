"""What process-historical-sync says, and how it ends where it cannot work. tests/processor is about its work."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
from psycopg.conninfo import conninfo_to_dict
from structlog.testing import capture_logs

from service.jobs.leases import Claim, Stored
from service.local.standin import Faults, StandinServer
from service.processor.progress import Progress
from tests.support.catalog import connect
from tests.support.database import Sql, add_agency, login_url
from tests.support.paths import ROOT
from tests.support.processing import KEY, UNTIL, Processors, add_job, some_calls, status
from tests.support.waiting import wait_until


def test_it_needs_no_source_of_keys_for_tokens_and_no_other_database(processors: Processors) -> None:
    done = processors.run(None, DATABASE_URL="", SUPABASE_JWT_SECRET="")
    assert done.outcome == {"processed": 0, "message": "No pending jobs"}


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        (
            {"CREDENTIALS_KEY": "hunter2"},
            "CREDENTIALS_KEY is not a comma-separated list of Fernet keys (docs/configuration.md says how",
        ),
        (
            {"PROCESSOR_DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/none"},
            "PROCESSOR_DATABASE_URL names a server that cannot be reached",
        ),
        ({"PROCESSOR_DATABASE_URL": ""}, "set PROCESSOR_DATABASE_URL to the URL of historical_sync_processor"),
    ],
    ids=["bad configuration", "no database", "the web service's role"],
)
def test_a_pass_that_cannot_work_fails_and_its_last_line_says_what_to_look_at(
    processors: Processors, environment: dict[str, str], told: str
) -> None:
    failed = processors.start(None, DATABASE_POOL_TIMEOUT="0.5", **environment)
    assert failed.wait() == 1
    assert failed.outcome.keys() == {"error"}
    assert told in failed.outcome["error"]
    assert "hunter2" not in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_database_without_the_functions_is_to_be_migrated(
    processors: Processors, create_database: Callable[..., str]
) -> None:
    failed = processors.start(None, PROCESSOR_DATABASE_URL=create_database())
    assert failed.wait() == 1
    assert "PROCESSOR_DATABASE_URL" in failed.outcome["error"]
    assert "make migrate" in failed.outcome["error"]


def has_looked(database_url: str) -> bool:
    with connect(database_url) as conn:
        asked = "datname = current_database() and query like '%historical_sync.%' and pid <> pg_backend_pid()"
        return conn.execute(f"select from pg_stat_activity where {asked}").rowcount > 0


def drop(database_url: str, postgres_url: str) -> None:
    with connect(postgres_url) as conn:
        conn.execute(f"drop database {conninfo_to_dict(database_url)['dbname']} with (force)")


def test_a_watch_that_never_reached_its_database_says_so_when_it_is_stopped(processors: Processors) -> None:
    url = "postgresql://u:hunter2@127.0.0.1:1/none"
    watch = processors.start(None, "--watch", DATABASE_POOL_TIMEOUT="0.5", PROCESSOR_DATABASE_URL=url)
    wait_until(lambda: "claim_failed" in watch.stderr)
    assert watch.stop() == 1
    assert watch.outcome.keys() == {"error"}
    assert "PROCESSOR_DATABASE_URL names a server that cannot be reached" in watch.outcome["error"]


def test_a_watch_that_lost_its_database_before_it_did_anything_does_not_say_that_no_job_is_pending(
    processors: Processors, own_database_url: str, postgres_url: str
) -> None:
    url = login_url(own_database_url, "historical_sync_processor")
    watch = processors.start(None, "--watch", DATABASE_POOL_TIMEOUT="0.5", PROCESSOR_DATABASE_URL=url)
    wait_until(lambda: has_looked(own_database_url))
    drop(own_database_url, postgres_url)
    wait_until(lambda: "claim_failed" in watch.stderr)
    assert watch.stop() == 1
    assert "PROCESSOR_DATABASE_URL names answers and refuses the login" in watch.outcome["error"]


def test_a_watch_that_lost_its_database_after_it_did_a_job_says_what_became_of_the_job(
    processors: Processors, own_database_url: str, postgres_url: str
) -> None:
    url = login_url(own_database_url, "historical_sync_processor")
    with StandinServer({KEY: []}) as api, connect(own_database_url) as conn:
        job_id = add_job(conn, add_agency(conn))
        watch = processors.start(api, "--watch", DATABASE_POOL_TIMEOUT="0.5", PROCESSOR_DATABASE_URL=url)
        wait_until(lambda: status(conn, job_id) == "completed" and "job_left" in watch.stderr)
    drop(own_database_url, postgres_url)
    wait_until(lambda: "claim_failed" in watch.stderr)
    assert watch.stop() == 0
    assert (watch.result["job_id"], watch.result["status"]) == (str(job_id), "completed")


def test_on_a_terminal_there_is_nothing_but_whole_lines(sql: Sql, database_url: str) -> None:
    add_job(sql, add_agency(sql))
    terminal, stderr = pty.openpty()
    with StandinServer({KEY: some_calls(200)}, faults=Faults(max_page_size=20)) as api:
        environment = {
            "PATH": os.environ["PATH"],
            "PROCESSOR_DATABASE_URL": login_url(database_url, "historical_sync_processor"),
            "ULTRAVOX_API_URL": api.url,
            "ULTRAVOX_API_KEY": KEY,
        }
        command = [str(Path(sys.executable).with_name("flask")), "--app", "wsgi", "process-historical-sync"]
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=stderr) as process:
            os.close(stderr)
            shown = read_to_the_end(terminal)
    assert process.returncode == 0
    assert "job_left" in shown
    assert not re.search(r"\r(?!\n)", shown)  # as it takes to write over a line


def read_to_the_end(terminal: int) -> str:
    shown = b""
    with suppress(OSError):  # the end, on a terminal that nobody else holds
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    return shown.decode()


def test_how_far_a_job_is_is_logged_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    claim, progress = Claim(uuid4(), uuid4(), 1, 100, None, None, UNTIL, 0), Progress()
    with capture_logs() as logs:
        progress.advance(claim, Stored(10, 0, [], 10, 50))
        assert logs == []
        monkeypatch.setattr("service.processor.progress.LOG_SECONDS", 0.0)
        progress.advance(claim, Stored(10, 0, [], 20, 50))
    [line] = logs
    assert (line["event"], line["job_id"]) == ("job_progress", str(claim.job_id))
    assert (line["processed"], line["total"]) == (20, 50)
