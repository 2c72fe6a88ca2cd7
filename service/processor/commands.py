"""The flask commands: process-historical-sync and set-ultravox-key."""

import json
import signal
import sys
import threading
import time
from typing import Any
from uuid import UUID

import click
import psycopg
import structlog
from flask import Flask, current_app
from tqdm import tqdm

from service.database import Database
from service.errors import DatabaseError
from service.jobs import leases
from service.jobs.leases import Claim, Stored
from service.processor.credentials import Credentials, UnreadableKeyError
from service.processor.processor import Processor, Progress
from service.settings import Settings

CHANNEL = "historical_sync_pending"
LISTEN_AGAIN_SECONDS = 5.0
LOG_SECONDS = 5.0

log = structlog.get_logger(__name__)


@click.command("process-historical-sync")
@click.option("--watch", is_flag=True, help="Keep running, and take a new job when it is created.")
@click.option("--max-seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so many seconds.")
def process_historical_sync(watch: bool, max_seconds: float | None) -> None:
    """Work on due jobs until none is left; the last line of output is the outcome as JSON."""
    settings: Settings = current_app.extensions["settings"]
    database = Database.of_processor(settings)
    progress: Bars | LogLines = Bars() if sys.stderr.isatty() else LogLines()
    processor = Processor(settings, database, progress)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: processor.stop())
    if max_seconds is not None:
        timer = threading.Timer(max_seconds, processor.stop)
        timer.daemon = True
        timer.start()
    if watch:
        threading.Thread(target=_listen, args=(settings, processor), daemon=True).start()
    failure = None
    try:
        processor.run(watch=watch)
    except DatabaseError as error:
        failure = error
    progress.close()
    results = [result.as_json() for result in processor.results()]
    click.echo(json.dumps({"results": results} if results else {"processed": 0, "message": "No pending jobs"}))
    if failure is not None:
        raise click.ClickException(str(failure)) from failure


@click.command("set-ultravox-key")
@click.argument("agency_id", type=UUID)
def set_ultravox_key(agency_id: UUID) -> None:
    """Read an agency's Ultravox API key from standard input and store it encrypted."""
    settings: Settings = current_app.extensions["settings"]
    api_key = sys.stdin.read().strip()
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise click.ClickException("standard input holds no API key")
    try:
        ciphertext = Credentials(settings.credentials_key).encrypt(api_key)
        with Database.of_processor(settings).connection() as conn:
            found = leases.set_ultravox_key(conn, agency_id, ciphertext)
    except UnreadableKeyError as error:
        raise click.ClickException(str(error)) from error
    except DatabaseError as error:
        raise click.ClickException(str(error)) from error
    if not found:
        raise click.ClickException(f"there is no agency {agency_id}")
    click.echo(f"stored the key of agency {agency_id}")


def init_app(app: Flask) -> None:
    app.cli.add_command(process_historical_sync)
    app.cli.add_command(set_ultravox_key)


def _listen(settings: Settings, processor: Processor) -> None:
    """Wake the processor when a job becomes pending. Polling is the safety net, for a pooler passes nothing on."""
    while True:
        try:
            with psycopg.connect(settings.processor_url().get_secret_value(), autocommit=True) as conn:
                conn.execute(f"listen {CHANNEL}")
                processor.wake()
                for _ in conn.notifies():
                    processor.wake()
        except psycopg.Error as error:
            log.warning("listen_failed", cause=str(error))
        time.sleep(LISTEN_AGAIN_SECONDS)


class Bars(Progress):
    """A progress bar per job, on a terminal."""

    def __init__(self) -> None:
        self._bars: dict[UUID, tqdm[Any]] = {}
        self._lock = threading.Lock()

    def advance(self, claim: Claim, stored: Stored) -> None:
        with self._lock:
            if claim.job_id not in self._bars:
                self._bars[claim.job_id] = tqdm(desc=f"job {str(claim.job_id)[:8]}", unit=" calls")
            bar = self._bars[claim.job_id]
            bar.total = stored.total_calls
            bar.update(max(0, stored.processed_calls - bar.n))

    def finish(self, claim: Claim) -> None:
        with self._lock:
            if bar := self._bars.pop(claim.job_id, None):
                bar.close()

    def close(self) -> None:
        for bar in self._bars.values():
            bar.close()


class LogLines(Progress):
    """A log line per job every few seconds, elsewhere."""

    def __init__(self) -> None:
        self._said_at: dict[UUID, float] = {}

    def advance(self, claim: Claim, stored: Stored) -> None:
        now = time.monotonic()
        if now - self._said_at.setdefault(claim.job_id, now) >= LOG_SECONDS:
            self._said_at[claim.job_id] = now
            job = {"job_id": str(claim.job_id), "processed": stored.processed_calls, "total": stored.total_calls}
            log.info("job_progress", **job)

    def finish(self, claim: Claim) -> None:
        self._said_at.pop(claim.job_id, None)

    def close(self) -> None:
        pass
