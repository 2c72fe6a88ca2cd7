"""A Postgres server whose databases have owners of their own, none of them a superuser unless a test says so."""

from uuid import uuid4

from service.migrate.preflight import ROLES
from tests.support.catalog import connect
from tests.support.database import ROLE_PASSWORD, login_url, make_conninfo_url


class Cluster:
    """A server without our roles at first, whose databases have owners of their own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._databases: list[str] = []
        self._owners: list[str] = []

    def owner(self, attributes: str = "") -> str:
        name = f"owner_{uuid4().hex}"
        self.execute(f"create role {name} login password '{ROLE_PASSWORD}' {attributes}")
        self._owners.append(name)
        return name

    def database(self, owner: str, before: str = "") -> str:
        """Create a database and return its owner's URL."""
        name = f"test_{uuid4().hex}"
        self.execute(f"create database {name} template template0 owner {owner}")
        self._databases.append(name)
        url = login_url(make_conninfo_url(self.url, name), owner)
        with connect(url) as conn:
            conn.execute(before)
        return url

    def execute(self, statement: str, database_of: str | None = None) -> None:
        """Execute a statement as a superuser."""
        with connect(login_url(database_of, "postgres") if database_of else self.url) as conn:
            conn.execute(statement)

    def setting(self, role: str) -> list[str]:
        with connect(self.url) as conn:
            [row] = conn.execute("select rolconfig from pg_roles where rolname = %s", [role]).fetchall()
        return sorted(row["rolconfig"] or [])

    def clear(self) -> None:
        for database in self._databases:
            self.execute(f"drop database {database} with (force)")
        for role in [*ROLES, *self._owners]:
            self.execute(f"drop role if exists {role}")
        self._databases.clear()
        self._owners.clear()
