"""`python -m service.migrate`: applies migrations/ to DATABASE_URL. Safe twice, and from several processes at once.

The dated files hold tables, columns, indexes and roles; yoyo applies each once. The files below migrations/functions/
hold functions, views, triggers and grants; all of them are applied at every run, so that each has one living text.
"""

import logging
import os
import sys
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI

from service.settings import is_postgres_url

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
FUNCTIONS = MIGRATIONS / "functions"
# yoyo's own tables: not in public, which PostgREST serves.
SCHEMA = "historical_sync"
# Any number will do, as long as nobody else takes the same.
ADVISORY_LOCK = 7_469_034_002


def migrate(database_url: str) -> list[str]:
    """Apply what is missing and return the names of the migrations applied.

    Needs a session of its own: a direct connection or a pooler in session mode. Raises psycopg.Error.
    """
    with psycopg.connect(database_url, autocommit=True) as lock:
        # yoyo's lock is a row, which a killed process leaves behind; this one ends with its connection.
        lock.execute("select pg_advisory_lock(%s)", [ADVISORY_LOCK])
        lock.execute("create schema if not exists historical_sync")
        with PostgresqlPsycopgBackend(_yoyo_uri(database_url), "_yoyo_migrations") as backend:
            backend.init_database()
            backend.break_lock()
            pending = backend.to_apply(read_migrations(str(MIGRATIONS)))
            with backend.lock():
                backend.apply_migrations(pending)
        _apply_functions(lock)
        return [migration.id for migration in pending]


def _apply_functions(conn: psycopg.Connection[Any]) -> None:
    """Replace every function, view, trigger and grant by its present text, all or none, in the order of their paths."""
    with conn.transaction():
        conn.execute("set local lock_timeout = '5s'")
        # A function may name one that comes after it.
        conn.execute("set local check_function_bodies = off")
        for path in sorted(FUNCTIONS.glob("*/*.sql")):
            conn.execute(path.read_bytes())


def _yoyo_uri(database_url: str) -> DatabaseURI:
    parameters = {name: str(value) for name, value in conninfo_to_dict(database_url).items()}
    return DatabaseURI(
        scheme="postgresql+psycopg",
        username=parameters.pop("user", None),
        password=parameters.pop("password", None),
        hostname=parameters.pop("host", None),
        port=parameters.pop("port", None),
        database=parameters.pop("dbname", None),
        # Better a failed migration than a queue of the dashboard's queries behind one that waits for a lock.
        args={"options": "-c lock_timeout=5s", **parameters, "schema": SCHEMA},
    )


def main() -> None:
    logging.getLogger("yoyo").setLevel(logging.WARNING)
    url = os.environ.get("DATABASE_URL")
    if not url:
        sys.exit("DATABASE_URL is missing")
    if not is_postgres_url(url):
        sys.exit("DATABASE_URL is not a postgresql:// URL")
    try:
        applied = migrate(url)
    except psycopg.Error as error:
        sys.exit(f"migration failed: {error}")
    print("\n".join(applied) if applied else "nothing to apply")


if __name__ == "__main__":
    main()
