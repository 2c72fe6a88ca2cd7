"""`python -m deploy.role_logins`: lets each of our roles log in with the password that its connection URL names."""

import os

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

ROLES = {
    "historical_sync_service": "DATABASE_URL",
    "historical_sync_processor": "PROCESSOR_DATABASE_URL",
}


def main() -> None:
    with psycopg.connect(os.environ["OWNER_DATABASE_URL"], autocommit=True) as conn:
        for role, variable in ROLES.items():
            _give_login(conn, role, variable)


def _give_login(conn: psycopg.Connection, role: str, variable: str) -> None:
    """Set the role's password; a URL of somebody else's is not ours to set up."""
    login = conninfo_to_dict(os.environ[variable])
    # A pooler can want the project after the role: historical_sync_service.abcdefgh
    if str(login.get("user")).partition(".")[0] != role or not login.get("password"):
        print(f"{variable} is not a login of {role}: left as it is")
        return
    # Hashed here, so that no log of the server can hold the password.
    hashed = conn.pgconn.encrypt_password(str(login["password"]).encode(), role.encode(), b"scram-sha-256")
    statement = sql.SQL("alter role {} login password {}")
    conn.execute(statement.format(sql.Identifier(role), sql.Literal(hashed.decode())))


if __name__ == "__main__":
    main()
