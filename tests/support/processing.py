"""The commands of the processor in processes that a test starts, stops and kills, and what it expects of an import."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.fernet import Fernet

from service.database import Conn
from service.jobs import leases
from service.jobs.leases import Claim, Stored, Window
from service.local.demo_calls import Call, demo_calls
from service.local.standin import StandinServer
from tests.support.database import Sql, add_agency, login_url
from tests.support.paths import ROOT
from tests.support.tokens import SECRET
from tests.support.waiting import LAST_RESORT_SECONDS

KEY = "the-common-key"
CREDENTIALS_KEY = Fernet.generate_key().decode()
UNTIL = datetime(2026, 6, 1, tzinfo=UTC)
LEASE = timedelta(minutes=1)


class Process:
    """A command that runs or has run."""

    def __init__(self, popen: subprocess.Popen[str], log: Path) -> None:
        self.popen = popen
        self._log = log

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def wait(self) -> int:
        return self.popen.wait(LAST_RESORT_SECONDS)

    def stop(self) -> int:
        self.send(signal.SIGTERM)
        return self.wait()

    @property
    def stdout(self) -> str:
        return self._log.with_suffix(".out").read_text()

    @property
    def stderr(self) -> str:
        return self._log.with_suffix(".err").read_text()

    @property
    def outcome(self) -> dict[str, Any]:
        """The last line of standard output."""
        document = json.loads(self.stdout.splitlines()[-1])
        assert isinstance(document, dict)
        return document

    @property
    def result(self) -> dict[str, Any]:
        """The outcome of a pass over one job."""
        [result] = self.outcome["results"]
        assert isinstance(result, dict)
        return result


class Processors:
    """Starts commands against a database; `close` ends those that still run."""

    def __init__(self, database_url: str, directory: Path) -> None:
        self._database_url = database_url
        self._directory = directory
        self._started: list[Process] = []

    def start(self, api: StandinServer | None, *options: str, **environment: str) -> Process:
        common = {"ULTRAVOX_API_URL": api.url if api else "http://127.0.0.1:1", "ULTRAVOX_API_KEY": KEY}
        return self._popen(["process-historical-sync", *options], subprocess.DEVNULL, {**common, **environment})

    def run(self, api: StandinServer | None, *options: str, **environment: str) -> Process:
        """A pass from beginning to end."""
        process = self.start(api, *options, **environment)
        assert process.wait() == 0, process.stderr
        return process

    def set_key(self, agency_id: object, api_key: str, **environment: str) -> Process:
        """Store a key that nobody asks Ultravox about."""
        process = self._popen(["set-ultravox-key", "--no-check", str(agency_id)], subprocess.PIPE, environment)
        process.popen.communicate(api_key, timeout=LAST_RESORT_SECONDS)
        return process

    def close(self) -> None:
        for process in self._started:
            process.popen.kill()
            process.wait()

    def _popen(self, arguments: list[str], stdin: int, environment: dict[str, str]) -> Process:
        log = self._directory / f"command-{len(self._started)}"
        with log.with_suffix(".out").open("w") as out, log.with_suffix(".err").open("w") as err:
            popen = subprocess.Popen(
                [Path(sys.executable).with_name("flask"), "--app", "wsgi", *arguments],
                cwd=ROOT,
                env={
                    "PATH": os.environ["PATH"],
                    "DATABASE_URL": login_url(self._database_url, "historical_sync_service"),
                    "PROCESSOR_DATABASE_URL": login_url(self._database_url, "historical_sync_processor"),
                    "SUPABASE_JWT_SECRET": SECRET,
                    **environment,
                },
                stdin=stdin,
                stdout=out,
                stderr=err,
                text=True,
            )
        self._started.append(Process(popen, log))
        return self._started[-1]


def some_calls(count: int, seed: int = 1) -> list[Call]:
    """Calls of the four months before UNTIL."""
    return demo_calls(count, seed=seed, until=UNTIL)


def calls_of_one_day(count: int, midnight: datetime) -> list[Call]:
    calls = demo_calls(count, seed=1, until=UNTIL)
    gap = timedelta(days=1) / count
    return [{**call, "created": f"{midnight + gap * i:%Y-%m-%dT%H:%M:%S.%fZ}"} for i, call in enumerate(calls)]


def calls_before(newest: datetime, count: int) -> list[Call]:
    """Small calls, a millisecond apart, newest first. The same instant is the same call."""
    instants = [newest - timedelta(milliseconds=i + 1) for i in range(count)]
    return [{"callId": f"call of {instant:%F %T.%f}", "created": instant.isoformat()} for instant in instants]


def store_calls(conn: Conn, claim: Claim, window: Window, calls: list[Any], next_query: str | None) -> Stored:
    """Store a page of these as if it came from the API a second ago."""
    stored = leases.commit_page(
        conn,
        claim,
        window.id,
        calls=[json.dumps(call) for call in calls],
        singly=True,
        age=timedelta(seconds=1),
        next_query=next_query,
        total=None,
        lease=LEASE,
    )
    assert stored is not None
    return stored


def in_range(calls: Iterable[Call], date_from: datetime | None, date_to: datetime) -> list[Call]:
    oldest = date_from or datetime.min.replace(tzinfo=UTC)
    return [call for call in calls if oldest <= datetime.fromisoformat(call["created"]) < date_to]


def add_job(sql: Sql, agency_id: UUID, date_from: datetime | None = None, date_to: datetime = UNTIL) -> UUID:
    [row] = sql.execute("select historical_sync.create_job(%s, null, %s, %s) as id", [agency_id, date_from, date_to])
    return UUID(str(row["id"]))


def job(sql: Sql, job_id: UUID) -> dict[str, Any]:
    [row] = sql.execute("select * from public.historical_sync_jobs where id = %s", [job_id]).fetchall()
    return row


def status(sql: Sql, job_id: UUID) -> str:
    return str(job(sql, job_id)["status"])


def count_calls(sql: Sql) -> int:
    [row] = sql.execute("select count(*) from public.calls").fetchall()
    return int(row["count"])


def snapshot(sql: Sql) -> list[list[dict[str, Any]]]:
    """Every row that a processor could write, with the transaction that wrote it last."""
    tables = (
        "public.historical_sync_jobs",
        "historical_sync.windows",
        "historical_sync.listed_calls",
        "historical_sync.source_days",
        "historical_sync.short_days",
        "public.calls",
        "public.agencies",
    )
    return [sql.execute(f"select xmin::text, t.* from {table} as t order by t::text").fetchall() for table in tables]


def assert_imported(sql: Sql, job_id: UUID, expected: list[Call]) -> None:
    """The job is completed, its agency has these calls and no other, and each is counted once."""
    row = job(sql, job_id)
    assert row["status"] == "completed", row["error_message"]
    assert row["imported_calls"] + row["skipped_calls"] + row["failed_calls"] == row["processed_calls"]
    assert row["processed_calls"] == row["total_calls"] == len(expected)
    query = "select ultravox_call_id, data from public.calls where agency_id = %s"
    stored = {call["ultravox_call_id"]: call["data"] for call in sql.execute(query, [row["agency_id"]])}
    assert stored == {call["callId"]: call for call in expected}


def live_leases(sql: Sql) -> int:
    return sql.execute("select from public.historical_sync_jobs where lease_expires_at > clock_timestamp()").rowcount


def has_asked(api: StandinServer, requests: int) -> bool:
    return api.stats.requests >= requests


def reaches_calls(sql: Sql, calls: int) -> bool:
    do_not_back_off(sql)
    return count_calls(sql) >= calls


def reaches_the_end(sql: Sql) -> bool:
    do_not_back_off(sql)
    return sql.execute("select from public.historical_sync_jobs where status <> 'completed'").rowcount == 0


def do_not_back_off(sql: Sql) -> None:
    """A job that waits to be tried again need not."""
    sql.execute("update public.historical_sync_jobs set next_attempt_at = null where next_attempt_at is not null")


def agency_with_key(sql: Sql, api_key: str) -> UUID:
    agency_id = add_agency(sql)
    set_key(sql, agency_id, api_key)
    return agency_id


def set_key(sql: Sql, agency_id: UUID, api_key: str) -> None:
    ciphertext = Fernet(CREDENTIALS_KEY).encrypt(api_key.encode())
    sql.execute("select historical_sync.set_ultravox_key(%s, %s)", [agency_id, ciphertext])
