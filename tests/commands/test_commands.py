"""How the commands are found, and what they say where the environment or the database is of no use."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.commands import COMMANDS
from tests.support.commands import Operator
from tests.support.database import Sql, add_agency, login_url, make_conninfo_url
from tests.support.paths import ROOT
from tests.support.processing import add_job, status
from tests.support.waiting import LAST_RESORT_SECONDS

NAMES = [str(command.name) for command in COMMANDS]


def flask(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("flask"), "--app", "wsgi", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=LAST_RESORT_SECONDS,
        check=False,
    )


def test_flask_lists_the_commands_without_any_environment() -> None:
    listed = flask("--help")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert {name for name in NAMES if f"\n  {name} " in listed.stdout} == set(NAMES)
    assert len(NAMES) == 6


def test_help_runs_nothing(sql: Sql, database_url: str) -> None:
    job_id = add_job(sql, add_agency(sql))
    url = login_url(database_url, "historical_sync_processor")
    helped = flask("process-historical-sync", "--help", PROCESSOR_DATABASE_URL=url)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "--max-seconds" in helped.stdout
    assert status(sql, job_id) == "pending"


@pytest.mark.parametrize("name", NAMES)
def test_each_command_explains_itself_without_any_environment(name: str) -> None:
    helped = Operator({}).run(name, "--help")
    assert helped.exit_code == 0
    assert f"Usage: root {name}" in helped.stdout


def test_flasks_own_commands_see_the_application(service_environment: dict[str, str]) -> None:
    assert "/functions/v1/start-historical-sync" in flask("routes", **service_environment).stdout
    refused = flask("routes")
    assert refused.returncode == 1
    assert "DATABASE_URL is missing" in refused.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["list-agencies"],
        ["start-historical-sync", "00000000-0000-4000-8000-000000000000"],
        ["set-ultravox-key", "00000000-0000-4000-8000-000000000000", "--no-check"],
        ["rotate-ultravox-keys"],
    ],
    ids=lambda command: command[0],
)
class TestRefusals:
    """What every command says alike, besides the processor and doctor."""

    def test_a_bad_environment_is_told_with_every_fault(self, command: list[str]) -> None:
        refused = Operator({"LOG_LEVEL": "loud", "CREDENTIALS_KEY": "hunter2"}).run(*command, stdin="key")
        assert (refused.exit_code, refused.stdout) == (1, "")
        for fault in ("PROCESSOR_DATABASE_URL is missing", "LOG_LEVEL should be", "CREDENTIALS_KEY is not"):
            assert fault in refused.stderr
        assert "hunter2" not in refused.stderr

    def test_the_web_services_role_may_run_none(
        self, operator: Operator, database_url: str, command: list[str]
    ) -> None:
        url = login_url(database_url, "historical_sync_service")
        refused = operator.run(*command, stdin="key", PROCESSOR_DATABASE_URL=url)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "PROCESSOR_DATABASE_URL names a role that may not" in refused.stderr
        refused = operator.run(*command, stdin="key", PROCESSOR_DATABASE_URL=None, DATABASE_URL=url)
        assert "set PROCESSOR_DATABASE_URL to the URL of historical_sync_processor" in refused.stderr


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://hunter1:hunter2@127.0.0.1:1/none", "names a server that cannot be reached"),
        ("postgresql://hunter1:hunter2@host.invalid/none", "names a server that cannot be reached"),
    ],
)
def test_a_server_that_cannot_be_reached_is_told_from_one_that_refuses(operator: Operator, url: str, told: str) -> None:
    refused = operator.run("list-agencies", PROCESSOR_DATABASE_URL=url)
    assert refused.exit_code == 1
    assert f"PROCESSOR_DATABASE_URL {told}" in refused.stderr
    assert "hunter2" not in refused.output


def test_a_login_that_is_refused_is_told_from_a_server_that_is_away(operator: Operator, database_url: str) -> None:
    refused = operator.run("list-agencies", PROCESSOR_DATABASE_URL=make_conninfo_url(database_url, "no_such_database"))
    assert refused.exit_code == 1
    assert "PROCESSOR_DATABASE_URL names answers and refuses the login" in refused.stderr


def test_a_standby_is_told(operator: Operator, sql: Sql, database_url: str) -> None:
    url = login_url(database_url, "historical_sync_processor")
    url += f"{'&' if '?' in url else '?'}options=-c%20default_transaction_read_only%3Don"
    refused = operator.run("start-historical-sync", add_agency(sql), PROCESSOR_DATABASE_URL=url)
    assert refused.exit_code == 1
    assert "PROCESSOR_DATABASE_URL names a standby" in refused.stderr


def test_a_database_that_was_not_migrated_is_told(operator: Operator, create_database: Callable[..., str]) -> None:
    refused = operator.run("list-agencies", PROCESSOR_DATABASE_URL=create_database())
    assert refused.exit_code == 1
    assert "lacks functions of this release: run `make migrate`" in refused.stderr
