"""list-agencies and start-historical-sync."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC
from uuid import UUID

import click
from pydantic import ValidationError

from service.commands.common import operators_database
from service.errors import AgencyNotFoundError, InvalidDateRangeError, SyncAlreadyActiveError
from service.jobs import operators
from service.jobs.operators import Agency
from service.web.errors import as_api_error
from service.web.responses import to_json
from service.web.schemas import DateRange, PendingJob, faults


@click.command("list-agencies")
def list_agencies() -> None:
    """Show the agencies, their keys and last jobs.

    KEY says whether an agency has an Ultravox key of its own; WHEN is when something was last heard of the job.
    """
    with operators_database() as (_, database), database.connection() as conn:
        agencies = operators.list_agencies(conn)
    if not agencies:
        click.echo("There are no agencies yet: each is a row of the table agencies.", err=True)
        return
    for line in _table([("ID", "NAME", "KEY", "LAST JOB", "WHEN (UTC)"), *map(_row, agencies)]):
        click.echo(line)


def _row(agency: Agency) -> tuple[str, ...]:
    # A name can hold what moves the cursor.
    name = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in agency.name or "")
    when = f"{agency.job_at.astimezone(UTC):%Y-%m-%d %H:%M}" if agency.job_at else ""
    return str(agency.id), name, "yes" if agency.has_key else "no", agency.job_status or "none", when


def _table(rows: list[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


@click.command("start-historical-sync")
@click.argument("agency_id", type=click.UUID)
@click.option("--date-from", help="ISO 8601: the first instant to import. Without it there is no lower bound.")
@click.option("--date-to", help="ISO 8601: the first instant not to import. Without it: now.")
def start_historical_sync(agency_id: UUID, date_from: str | None, date_to: str | None) -> None:
    """Import an agency's past calls.

    Creates a job as POST /start-historical-sync does, and prints the same answer as JSON. A date is midnight UTC, and a
    time without an offset is UTC. Exits with 1 where the agency has an active job already, which is then in the answer.
    """
    wanted = _read_range(date_from, date_to)
    with operators_database() as (_, database):
        try:
            job_id = operators.start(database, agency_id, wanted.date_from, wanted.date_to)
        except SyncAlreadyActiveError as error:
            click.echo(to_json(as_api_error(error).body()))
            raise click.exceptions.Exit(1) from error
        except InvalidDateRangeError as error:
            raise _refusal(error.fields) from error
        except AgencyNotFoundError as error:
            raise click.ClickException(str(error)) from error
    click.echo(to_json(PendingJob(job_id)))


def _read_range(date_from: str | None, date_to: str | None) -> DateRange:
    try:
        return DateRange.model_validate({"date_from": date_from, "date_to": date_to})
    except ValidationError as error:
        raise _refusal(faults(error)) from None


def _refusal(fields: Mapping[str, str]) -> click.UsageError:
    told = "; ".join(f"{name} {fault}" for name, fault in fields.items())
    return click.UsageError(re.sub("date_(from|to)", r"--date-\1", told))
