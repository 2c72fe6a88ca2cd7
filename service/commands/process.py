"""process-historical-sync: a pass over the due jobs, or a processor that keeps running."""

import json
import signal
import threading
from typing import Any

import click

from service.commands.common import explain, read_settings
from service.database import Database
from service.errors import DatabaseError
from service.processor.dispatcher import Dispatcher
from service.settings import Settings, SettingsError


@click.command("process-historical-sync")
@click.option("--watch", is_flag=True, help="Keep running, and take a new job when it is created.")
@click.option("--max-seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so many seconds.")
def process_historical_sync(watch: bool, max_seconds: float | None) -> None:
    """Work on due jobs until none is left.

    The last line of output is the outcome as JSON. Exits with 0 when that is done, whatever has become of the jobs, and
    with 1 where it could not work.
    """
    try:
        settings = read_settings()
    except SettingsError as error:
        raise _could_not_work(error.sentence, error) from error
    try:
        results = _work(settings, watch, max_seconds)
    except DatabaseError as error:
        raise _could_not_work(explain(error, settings), error) from error
    click.echo(json.dumps({"results": results} if results else {"processed": 0, "message": "No pending jobs"}))


def _could_not_work(sentence: str, error: Exception) -> click.ClickException:
    """Say the outcome, and return what ends the command."""
    click.echo(json.dumps({"error": sentence}))
    return click.ClickException(str(error))


def _work(settings: Settings, watch: bool, max_seconds: float | None) -> list[dict[str, Any]]:
    """Return what has become of each job. Raises DatabaseError."""
    dispatcher = Dispatcher(settings, Database.of_processor(settings))
    _stop_at(dispatcher, max_seconds)
    dispatcher.run(watch=watch)
    return [result.as_json() for result in dispatcher.results()]


def _stop_at(dispatcher: Dispatcher, max_seconds: float | None) -> None:
    """Stop at a signal, and after so many seconds where they are given."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: dispatcher.stop())
    if max_seconds is not None:
        timer = threading.Timer(max_seconds, dispatcher.stop)
        timer.daemon = True
        timer.start()
