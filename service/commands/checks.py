"""What doctor looks at: each check is a finding or several, with what to do where something is wrong."""

from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

import psycopg
from psycopg.rows import class_row
from pydantic import SecretStr

from service.commands.common import MIGRATE, explain, forbidden, processor_variable, why_unavailable
from service.commands.keys import ask_ultravox
from service.database import Database, conninfo_with_defaults
from service.errors import DatabaseError
from service.exchange import ExchangeError, Origin
from service.jobs import keys, operators
from service.processor.credentials import Credentials, UnreadableKeyError
from service.processor.errors import JobFailedError, KeyRefusedError, RetryableError
from service.settings import Settings
from service.web.jwks import download_keys, jwks_url

SERVICE, PROCESSOR = "historical_sync_service", "historical_sync_processor"

# What a login is and may do, beside what one of our roles may: grant_privileges.sql alone says what that is.
LOGIN = """
    select
        current_database() as database,
        current_user as role,
        to_regnamespace('historical_sync') is not null and to_regrole(%(ours)s) is not null as is_migrated,
        obj_description(to_regnamespace('historical_sync'), 'pg_namespace') as mark,
        coalesce(
            (
                select bool_and(has_function_privilege(oid, 'execute'))
                from pg_proc
                where pronamespace = to_regnamespace('historical_sync')
                    and has_function_privilege((select rolname from pg_roles where rolname = %(ours)s), oid, 'execute')
            ) and has_schema_privilege(to_regnamespace('historical_sync'), 'usage'),
            false
        ) as may
"""
READS_USERS = """
    select coalesce(has_column_privilege(to_regclass('public.users'), 'agency_id', 'select'), false) as may
"""


class Finding(NamedTuple):
    """A sentence, which says what to do where something is wrong."""

    is_ok: bool
    text: str


class Login(NamedTuple):
    """A row of LOGIN."""

    database: str
    role: str
    is_migrated: bool
    mark: str | None
    may: bool


def examine(settings: Settings, agency_id: UUID | None) -> Iterator[Finding]:
    """Look at all that the environment configures, and at an agency's key if one is named."""
    if settings.database_url is None and settings.processor_database_url is None:
        yield Finding(False, "DATABASE_URL is not set, nor is PROCESSOR_DATABASE_URL: nothing can run here")
        return
    if settings.database_url is None:
        yield Finding(True, "DATABASE_URL is not set: the web service does not run here")
    else:
        yield from _database("DATABASE_URL", settings.database_url, SERVICE, forbidden_to_serve())
        yield from _key_source(settings)
    variable = processor_variable(settings)
    processor = list(_database(variable, settings.processor_url(), PROCESSOR, forbidden(settings)))
    works = all(finding.is_ok for finding in processor)
    if not (works or settings.processor_database_url or agency_id):
        yield Finding(
            True,
            "PROCESSOR_DATABASE_URL is not set, and DATABASE_URL is the web service's:"
            " neither the processor nor another command runs here",
        )
        return
    yield from processor
    if works:
        yield from _agencies(settings, agency_id)


def forbidden_to_serve() -> str:
    return (
        f"DATABASE_URL names a role that may not do what the web service does: it must be the URL of {SERVICE},"
        " or of a role that is a member of it"
    )


def _database(variable: str, url: SecretStr, ours: str, if_forbidden: str) -> Iterator[Finding]:
    """Look at the login of a URL, and whether it may do what one of our roles may."""
    from service.migrate.preflight import look_at_server  # brings yoyo, which no other command needs

    try:
        with psycopg.connect(conninfo_with_defaults(url), autocommit=True) as conn:
            unusable = list(look_at_server(conn, variable=variable))
            login = conn.cursor(row_factory=class_row(Login)).execute(LOGIN, {"ours": ours}).fetchall()[0]
            may = login.may and (ours != SERVICE or conn.execute(READS_USERS).fetchall()[0][0])
    except psycopg.OperationalError:
        yield Finding(False, why_unavailable(url, variable))
        return
    except psycopg.Error as error:
        yield Finding(False, f"{variable} names a database that cannot be examined: {error.diag.message_primary}")
        return
    yield Finding(True, f"{variable} reaches the database {login.database} as {login.role}")
    if unusable:
        yield from (Finding(False, text) for text in unusable)
    elif not login.is_migrated:
        yield Finding(False, f"{variable} names a database that is not migrated: {MIGRATE}")
    else:
        yield Finding(may, f"{variable} names a role that may do what {ours} may" if may else if_forbidden)
        yield _migrations(variable, login)


def _migrations(variable: str, login: Login) -> Finding:
    from service.migrate import mark

    if login.mark == mark():
        return Finding(True, f"{variable} names a database that has the migrations of this release")
    return Finding(
        False,
        f"{variable} names a database with other migrations than this release's: {MIGRATE},"
        " unless a newer release has migrated it",
    )


def _key_source(settings: Settings) -> Iterator[Finding]:
    if settings.supabase_url:
        yield _published_keys(settings.supabase_url, has_secret=settings.supabase_jwt_secret is not None)
    if settings.supabase_jwt_secret:
        yield Finding(True, "SUPABASE_JWT_SECRET verifies HS256 tokens")
    elif settings.supabase_url is None:
        text = "SUPABASE_URL is not set, nor is SUPABASE_JWT_SECRET: the web service does not start without one of them"
        yield Finding(False, text)


def _published_keys(supabase_url: str, *, has_secret: bool) -> Finding:
    try:
        found = len(download_keys(Origin(jwks_url(supabase_url))))
    except ExchangeError as error:
        text = f"the signing keys at SUPABASE_URL cannot be fetched, for {error}: check that it is the project's URL"
        return Finding(False, text)
    except (ValueError, RecursionError):
        return Finding(False, "SUPABASE_URL answers without a set of signing keys: check that it is the project's URL")
    if not found and not has_secret:
        return Finding(
            False,
            "SUPABASE_URL publishes no signing key that can be used:"
            " set SUPABASE_JWT_SECRET, or move the project to signing keys",
        )
    return Finding(True, f"SUPABASE_URL publishes {found} signing keys")


def _agencies(settings: Settings, agency_id: UUID | None) -> Iterator[Finding]:
    database = Database.of_processor(settings)
    try:
        with database.connection() as conn:
            known = {agency.id for agency in operators.list_agencies(conn)}
            stored = {each.agency_id: each.key_encrypted for each in keys.stored_ultravox_keys(conn)}
    except DatabaseError as error:
        yield Finding(False, explain(error, settings))
        return
    finally:
        database.close()
    yield _readable(settings, len(known), stored)
    if agency_id is not None:
        if agency_id in known:
            yield _accepted(settings, agency_id, stored.get(agency_id))
        else:
            yield Finding(False, f"there is no agency {agency_id}: list-agencies shows them")


def _readable(settings: Settings, agencies: int, stored: dict[UUID, bytes]) -> Finding:
    credentials = Credentials(settings.credentials_key)
    unreadable = [str(agency_id) for agency_id, key in stored.items() if _read(credentials, key) is None]
    if unreadable:
        return Finding(
            False,
            "CREDENTIALS_KEY cannot read the keys of some agencies: add the one that they were encrypted with,"
            f" or set them again with set-ultravox-key: {', '.join(unreadable)}",
        )
    common = "set" if settings.ultravox_api_key else "not set"
    return Finding(
        True, f"{len(stored)} of {agencies} agencies have a key of their own; ULTRAVOX_API_KEY, for others, is {common}"
    )


def _read(credentials: Credentials, key_encrypted: bytes) -> SecretStr | None:
    try:
        return credentials.decrypt(key_encrypted)
    except UnreadableKeyError:
        return None


def _accepted(settings: Settings, agency_id: UUID, key_encrypted: bytes | None) -> Finding:
    """Ask Ultravox about the key that a processor would use."""
    if key_encrypted is not None:
        whose, mend = f"the key of agency {agency_id}", "store a valid one with set-ultravox-key"
        key = _read(Credentials(settings.credentials_key), key_encrypted)
    else:
        whose, mend = f"ULTRAVOX_API_KEY, which agency {agency_id} uses", "set a valid one"
        key = settings.ultravox_api_key
    if key is None:
        how = "cannot be read" if key_encrypted is not None else "is not set"
        return Finding(False, f"{whose}, {how}: store one for this agency with set-ultravox-key")
    try:
        ask_ultravox(settings, key)
    except KeyRefusedError:
        return Finding(False, f"Ultravox refuses {whose}: {mend}")
    except (RetryableError, JobFailedError) as error:
        text = f"whether Ultravox accepts {whose}, is not known: {error.what.removesuffix('.')} (ULTRAVOX_API_URL)"
        return Finding(False, text)
    return Finding(True, f"Ultravox accepts {whose}")
