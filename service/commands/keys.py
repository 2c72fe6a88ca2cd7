"""set-ultravox-key and rotate-ultravox-keys: the agencies' own API keys."""

import sys
from uuid import UUID

import click
from pydantic import SecretStr

from service.commands.common import operators_database
from service.database import Database
from service.jobs import keys
from service.processor.credentials import Credentials, UnreadableKeyError
from service.processor.errors import JobFailedError, KeyRefusedError, RetryableError
from service.processor.ultravox import UltravoxClient
from service.settings import Settings


@click.command("set-ultravox-key")
@click.argument("agency_id", type=click.UUID)
@click.option("--no-check", is_flag=True, help="Do not ask Ultravox whether it accepts the key.")
def set_ultravox_key(agency_id: UUID, no_check: bool) -> None:
    """Store an agency's Ultravox key, encrypted.

    It is read from standard input. A key that Ultravox refuses is not stored; where Ultravox cannot be asked, it is
    stored with a warning.
    """
    with operators_database() as (settings, database):
        credentials = _credentials(settings)
        api_key = _read_key()
        remark = "it was not tried" if no_check else _try(settings, api_key)
        with database.connection() as conn:
            found = keys.set_ultravox_key(conn, agency_id, credentials.encrypt(api_key.get_secret_value()))
    if not found:
        raise click.ClickException(f"there is no agency {agency_id}: list-agencies shows them")
    click.echo(f"stored the key of agency {agency_id}: {remark}")


def _credentials(settings: Settings) -> Credentials:
    if not settings.credentials_key:
        raise click.ClickException("CREDENTIALS_KEY is not set: docs/configuration.md says how to make one")
    return Credentials(settings.credentials_key)


def _read_key() -> SecretStr:
    api_key = sys.stdin.read().strip()
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise click.ClickException("standard input holds no API key: it is one line of letters, digits and signs")
    return SecretStr(api_key)


def _try(settings: Settings, api_key: SecretStr) -> str:
    """Return what Ultravox says of a key. Ends the command where it refuses it."""
    try:
        ask_ultravox(settings, api_key)
    except KeyRefusedError as error:
        raise click.ClickException(
            f"Ultravox refuses this key ({error.status}), and nothing was stored: make a key in its console,"
            " or store this one with --no-check"
        ) from None
    except (RetryableError, JobFailedError) as error:
        click.echo(f"warning: whether Ultravox accepts the key is not known: {error.what}", err=True)
        return "it was not tried, for Ultravox gave no answer about it (ULTRAVOX_API_URL)"
    return "Ultravox accepts it"


def ask_ultravox(settings: Settings, api_key: SecretStr) -> None:
    """Raises KeyRefusedError; RetryableError and JobFailedError where Ultravox says nothing about the key."""
    UltravoxClient(settings.ultravox_api_url, timeout=settings.ultravox_timeout, connections=0).try_key(api_key)


@click.command("rotate-ultravox-keys")
def rotate_ultravox_keys() -> None:
    """Encrypt every stored key with the newest one.

    That is the first of CREDENTIALS_KEY; those after it are not needed any more then. Exits with 1 where a stored key
    cannot be read.
    """
    with operators_database() as (settings, database):
        rotated, unreadable = _rotate(database, _credentials(settings))
    click.echo(f"encrypted {rotated} stored keys with the first key of CREDENTIALS_KEY")
    if unreadable:
        named = "".join(f"\n  {agency_id}" for agency_id in unreadable)
        raise click.ClickException(
            f"{len(unreadable)} stored keys cannot be read with any key of CREDENTIALS_KEY, and stay as they are:"
            " add the one that they were encrypted with, or set them again with set-ultravox-key."
            f" They are the keys of{named}"
        )


def _rotate(database: Database, credentials: Credentials) -> tuple[int, list[UUID]]:
    """Return how many keys were encrypted again, and the agencies whose key could not be read.

    One that is set in the meantime is looked at once more: whoever set it may have had the former CREDENTIALS_KEY.
    """
    rotated, unreadable = 0, []
    with database.connection() as conn:
        to_do = keys.stored_ultravox_keys(conn)
        while to_do:
            changed = set()
            for stored in to_do:
                try:
                    api_key = credentials.decrypt(stored.key_encrypted)
                except UnreadableKeyError:
                    unreadable.append(stored.agency_id)
                    continue
                if keys.replace_ultravox_key(conn, stored, credentials.encrypt(api_key.get_secret_value())):
                    rotated += 1
                else:
                    changed.add(stored.agency_id)
            to_do = [stored for stored in keys.stored_ultravox_keys(conn) if stored.agency_id in changed]
    return rotated, unreadable
