"""What the commands share: their settings, their database, and sentences that name the variable to look at."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
import psycopg
from psycopg.pq import PGconn, Ping
from pydantic import SecretStr

from service.database import Database, conninfo_with_defaults
from service.errors import (
    DatabaseBusyError,
    DatabaseError,
    DatabaseForbiddenError,
    DatabaseUnavailableError,
    NotMigratedError,
)
from service.logs import configure_logs
from service.settings import ProcessorSettings, Settings, SettingsError, load_settings

MIGRATE = "run `make migrate` with the owner's URL"


def read_settings(kind: type[Settings] = ProcessorSettings) -> Settings:
    """Return what the environment configures, as far as a command needs it. Raises SettingsError."""
    settings = load_settings(kind)
    configure_logs(settings)
    return settings


@contextmanager
def operators_database() -> Iterator[tuple[Settings, Database]]:
    """Give a command its settings and database, and end it with a sentence where either is of no use."""
    try:
        settings = read_settings()
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    database = Database.of_processor(settings)
    try:
        yield settings, database
    except DatabaseError as error:
        raise click.ClickException(f"{explain(error, settings)}\n({error})") from error
    finally:
        database.close()


def processor_variable(settings: Settings) -> str:
    """Return the name of the variable that the processor's URL comes from."""
    return "PROCESSOR_DATABASE_URL" if settings.processor_database_url else "DATABASE_URL"


def explain(error: DatabaseError, settings: Settings) -> str:
    """Say what is wrong and what to do, for whoever may look at the environment: without a word of the driver's."""
    variable = processor_variable(settings)
    match error:
        case DatabaseForbiddenError():
            return forbidden(settings)
        case NotMigratedError():
            return f"The database that {variable} names lacks functions of this release: {MIGRATE}."
        case DatabaseUnavailableError():
            return why_unavailable(settings.processor_url(), variable)
        case DatabaseBusyError():
            return (
                f"The database that {variable} names is busy: somebody holds a lock, or a statement took too long."
                " Try again."
            )
    return f"The database that {variable} names refused a statement; standard error says why."


def forbidden(settings: Settings) -> str:
    use = "the URL of historical_sync_processor, or of a role that is a member of it"
    if settings.processor_database_url:
        return f"PROCESSOR_DATABASE_URL names a role that may not do what the processor does: it must be {use}."
    return f"DATABASE_URL names a role that may not do what the processor does: set PROCESSOR_DATABASE_URL to {use}."


def why_unavailable(url: SecretStr, variable: str) -> str:
    """Find out why a server cannot be worked with. What libpq says is not quoted: it can be a part of the password."""
    conninfo = conninfo_with_defaults(url)
    try:
        with psycopg.connect(conninfo) as conn:
            [(read_only,)] = conn.execute("select current_setting('transaction_read_only') = 'on'")
    except psycopg.Error:
        return _why_unreached(conninfo, variable)
    if read_only:
        return f"{variable} names a standby, which can only be read: name the primary server."
    return f"The server that {variable} names broke a connection off, or had none free in time: try again."


def _why_unreached(conninfo: str, variable: str) -> str:
    match PGconn.ping(conninfo.encode()):
        case Ping.OK:
            return (
                f"The server that {variable} names answers and refuses the login:"
                " check user, password and the name of the database, and whether the server has a connection free."
            )
        case Ping.REJECT:
            return f"The server that {variable} names is starting or stopping: try again."
    return f"{variable} names a server that cannot be reached: check host, port and sslmode, and whether it is up."
