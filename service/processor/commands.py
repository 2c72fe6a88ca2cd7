"""The flask commands: process-historical-sync and set-ultravox-key."""

import json
import signal
import sys
import threading
from uuid import UUID

import click
from flask import Flask, current_app

from service.database import Database
from service.errors import DatabaseError
from service.jobs import keys
from service.processor.credentials import Credentials, UnreadableKeyError
from service.processor.dispatcher import Dispatcher
from service.processor.listener import listen
from service.processor.progress import choose_progress
from service.settings import Settings


@click.command("process-historical-sync")
@click.option("--watch", is_flag=True, help="Keep running, and take a new job when it is created.")
@click.option("--max-seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so many seconds.")
def process_historical_sync(watch: bool, max_seconds: float | None) -> None:
    """Work on due jobs until none is left; the last line of output is the outcome as JSON."""
    settings: Settings = current_app.extensions["settings"]
    progress = choose_progress()
    dispatcher = Dispatcher(settings, Database.of_processor(settings), progress)
    _stop_at(dispatcher, max_seconds)
    if watch:
        threading.Thread(target=listen, args=(settings.processor_url(), dispatcher.wake), daemon=True).start()
    failure = None
    try:
        dispatcher.run(watch=watch)
    except DatabaseError as error:
        failure = error
    progress.close()
    results = [result.as_json() for result in dispatcher.results()]
    if failure is not None:
        click.echo(json.dumps({"error": "The database cannot be worked with: look at PROCESSOR_DATABASE_URL."}))
        raise click.ClickException(str(failure)) from failure
    click.echo(json.dumps({"results": results} if results else {"processed": 0, "message": "No pending jobs"}))


def _stop_at(dispatcher: Dispatcher, max_seconds: float | None) -> None:
    """Stop at a signal, and after so many seconds where they are given."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: dispatcher.stop())
    if max_seconds is not None:
        timer = threading.Timer(max_seconds, dispatcher.stop)
        timer.daemon = True
        timer.start()


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
            found = keys.set_ultravox_key(conn, agency_id, ciphertext)
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
