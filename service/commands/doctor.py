"""doctor: what this environment can do, and what is in the way."""

from uuid import UUID

import click

from service.commands.checks import Finding, examine
from service.commands.common import read_settings
from service.settings import Settings, SettingsError


@click.command("doctor")
@click.option("--agency", "agency_id", type=click.UUID, help="Also ask Ultravox whether it accepts this agency's key.")
def doctor(agency_id: UUID | None) -> None:
    """Check what this environment can do.

    Looks at the databases, roles, migrations, sources of keys and the agencies' keys that are configured. Prints a line
    for each with ok, or FAIL and what to do; exits with 1 if any fails.
    """
    try:
        findings = examine(read_settings(Settings), agency_id)
    except SettingsError as error:
        findings = iter([Finding(False, fault) for fault in error.faults])
    failed = False
    for finding in findings:
        failed = failed or not finding.is_ok
        click.echo(f"{'ok' if finding.is_ok else 'FAIL':4}  {finding.text.removesuffix('.')}")
    if failed:
        raise click.exceptions.Exit(1)
