"""`python -m service.migrate`: applies migrations/ to DATABASE_URL. Safe twice, and from several processes at once.

First the preflight looks whether that can succeed; where it cannot, nothing is changed. The dated files hold tables,
columns, indexes and roles; yoyo applies each once. The files below migrations/functions/ hold functions,
views, triggers and grants; all of them are applied at every run, so that each has one living text.
"""

import hashlib
import logging
import os
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection
from psycopg import sql as psql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import Diagnostic
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI

from service.migrate.preflight import find_obstacles
from service.settings import is_postgres_url

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
FUNCTIONS = MIGRATIONS / "functions"
# yoyo's own tables: not in public, which PostgREST serves.
SCHEMA = "historical_sync"
# Any number will do, as long as nobody else takes the same.
ADVISORY_LOCK = 7_469_034_002
# Another migration may be building indexes on a large table.
WAIT_FOR_ANOTHER = "10min"
# Better a failed migration than a queue of the dashboard's queries behind one that waits for a lock. What has its
# locks may take its time, whatever limit the role has.
WAIT_FOR_TABLES = "5s"

# What to do, by SQLSTATE, where the server gives no hint itself.
ADVICE = {
    "": "check DATABASE_URL, and whether the server is up",  # libpq's own errors have none
    "42501": "migrate as the role that owns the database and its tables",
    "55P03": "something else is using it: end that, or wait, and migrate again",
}


class MigrationError(Exception):
    """What stopped the migration and what to do, in a sentence for operators and without a secret."""


def migrate(database_url: str) -> list[str]:
    """Apply what is missing and return the names of the migrations applied.

    Needs a session of its own: a direct connection or a pooler in session mode. Raises MigrationError.
    """
    # What the URL says itself wins, but for the encoding: an error in another one could not be read.
    parameters = {"connect_timeout": 10, **conninfo_to_dict(database_url), "client_encoding": "utf8"}
    conninfo = make_conninfo("", **parameters)
    with _telling("cannot connect"):
        conn = psycopg.connect(conninfo, autocommit=True)
    conn.add_notice_handler(_print_warning)
    with conn:
        _wait_for_turn(conn)
        _require_no_obstacle(conn)
        applied = _apply_dated(conn, conninfo)
        _apply_functions(conn)
        return applied


def _wait_for_turn(conn: Connection[Any]) -> None:
    with _telling("another migration does not end"):
        # Names mean what they say, whatever else somebody has put into a schema that is searched by default.
        conn.execute("set search_path = pg_catalog, pg_temp")
        _limit_waits(conn, WAIT_FOR_ANOTHER)
        # yoyo's own lock is a row, which a killed process leaves behind; this one ends with its connection.
        conn.execute("select pg_advisory_lock(%s)", [ADVISORY_LOCK])
        _limit_waits(conn, WAIT_FOR_TABLES)


def _limit_waits(conn: Connection[Any], wait: str) -> None:
    conn.execute("set statement_timeout = 0")
    # It holds the lock while the dated files are applied over another connection.
    conn.execute("set idle_session_timeout = 0")
    conn.execute("set idle_in_transaction_session_timeout = 0")
    conn.execute("select set_config('lock_timeout', %s, false)", [wait])


def _require_no_obstacle(conn: Connection[Any]) -> None:
    with _telling("cannot look at the database"):
        obstacles = find_obstacles(conn)
    if obstacles:
        raise MigrationError("\n".join(f"nothing was changed: {obstacle}" for obstacle in obstacles))


def _apply_dated(conn: Connection[Any], conninfo: str) -> list[str]:
    with _telling("cannot create the schema"):
        # `if not exists` asks for the right to create it also where it exists.
        if conn.execute("select from pg_namespace where nspname = %s", [SCHEMA]).fetchone() is None:
            conn.execute("create schema historical_sync")
    with _telling("cannot record what is applied"), _Backend(_yoyo_uri(conninfo), "_yoyo_migrations") as backend:
        backend.init_database()
        backend.break_lock()
        pending = list(backend.to_apply(read_migrations(str(MIGRATIONS))))
        with backend.lock():
            for migration in pending:
                with _telling(f"stopped at {migration.id}"):
                    backend.apply_one(migration)
    return [migration.id for migration in pending]


def _apply_functions(conn: Connection[Any]) -> None:
    """Replace every function, view, trigger and grant by its present text, all or none, in the order of their paths."""
    with conn.transaction():
        # A function may name one that comes after it.
        conn.execute("set local check_function_bodies = off")
        for path in sorted(FUNCTIONS.glob("*/*.sql")):
            with _telling(f"stopped at {path.relative_to(MIGRATIONS)}"):
                conn.execute(path.read_bytes())
        with _telling("cannot record what is applied"):
            conn.execute(psql.SQL("comment on schema historical_sync is {}").format(mark()))


def mark() -> str:
    """Return the comment that a database's schema has once all that is in migrations/ now is applied."""
    digest = hashlib.sha256()
    for path in sorted(MIGRATIONS.rglob("*.sql")):
        digest.update(f"{path.relative_to(MIGRATIONS)}\n".encode() + path.read_bytes())
    return f"historical-sync's own; its migrations are {digest.hexdigest()}"


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo is not typed
    """yoyo's way to Postgres, with our limits, told warnings, and a log that asks the system for nothing."""

    def connect(self, dburi: DatabaseURI) -> Connection[Any]:
        conn: Connection[Any] = super().connect(dburi)
        conn.add_notice_handler(_print_warning)
        return conn

    def init_connection(self, connection: Connection[Any]) -> None:
        super().init_connection(connection)
        _limit_waits(connection, WAIT_FOR_TABLES)

    def get_log_data(self, migration: Any = None, operation: str = "apply") -> dict[str, Any]:
        # yoyo asks for the system's name of the user, and in a container there may be none.
        return {
            "id": str(uuid.uuid4()),
            "migration_id": migration and migration.id,
            "migration_hash": migration and migration.hash,
            "username": self.connection.info.user,
            "hostname": socket.gethostname(),
            "created_at_utc": datetime.now(UTC).replace(tzinfo=None),
            "operation": operation,
        }


def _yoyo_uri(conninfo: str) -> DatabaseURI:
    rest = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()}
    return DatabaseURI(
        scheme="postgresql+psycopg",
        username=rest.pop("user", None),
        password=rest.pop("password", None),
        hostname=rest.pop("host", None),
        port=rest.pop("port", None),
        database=rest.pop("dbname", None),
        args={**rest, "schema": SCHEMA},
    )


def _print_warning(diagnostic: Diagnostic) -> None:
    # Our own: who does not own public is warned by the server that nothing was granted there, which need not be.
    if diagnostic.severity_nonlocalized == "WARNING" and diagnostic.sqlstate == "01000":
        print(f"warning: {diagnostic.message_primary}", file=sys.stderr)


@contextmanager
def _telling(what: str) -> Iterator[None]:
    """Turn the driver's errors into a sentence.

    Raises MigrationError.
    """
    try:
        yield
    except psycopg.Error as error:
        # The primary message and the hint: a detail can quote a row.
        message = error.diag.message_primary or " ".join(str(error).split())
        raise MigrationError(f"{what}: {message}; {_advice(error)}") from error


def _advice(error: psycopg.Error) -> str:
    general = "what was applied before stays; mend this and migrate again"
    return error.diag.message_hint or ADVICE.get(error.sqlstate or "", general)


def main() -> None:
    logging.getLogger("yoyo").setLevel(logging.WARNING)
    url = os.environ.get("DATABASE_URL")
    if not url:
        sys.exit("DATABASE_URL is missing: set it to the URL of the database's owner")
    if not is_postgres_url(url):
        sys.exit("DATABASE_URL is not a postgresql:// URL")
    try:
        applied = migrate(url)
    except MigrationError as error:
        sys.exit(f"migration failed: {error}")
    print("\n".join(applied) if applied else "nothing to apply")
