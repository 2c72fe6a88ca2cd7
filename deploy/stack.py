"""What docker-compose.yml needs beside the service: `python -m deploy.stack secrets|roles|demo|token`."""

import os
import secrets
import sys
from pathlib import Path
from urllib.parse import quote

import psycopg
from cryptography.fernet import Fernet
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from service.local.demo import add_demo_agency, demo_token, new_ultravox_key

VOLUME = Path("/run/secrets-volume")
DATABASE = "postgres:5432/historical_sync"
STANDIN = "http://standin:9100"
ROLES = {
    "historical_sync_service": "DATABASE_URL",
    "historical_sync_processor": "PROCESSOR_DATABASE_URL",
}
NEEDED = ("POSTGRES_PASSWORD", "OWNER_DATABASE_URL", *ROLES.values(), "CREDENTIALS_KEY")


def is_production() -> bool:
    match os.environ.get("APP_ENV") or "development":
        case "production":
            return True
        case "development":
            return False
        case other:
            sys.exit(f"APP_ENV is {other!r}: it must be development or production")


def make_secrets() -> None:
    """Make each development secret once; in production insist that the environment brings its own."""
    if is_production():
        missing = [name for name in NEEDED if not os.environ.get(name)]
        if not os.environ.get("SUPABASE_URL") and not os.environ.get("SUPABASE_JWT_SECRET"):
            missing.append("SUPABASE_URL or SUPABASE_JWT_SECRET")
        if missing:
            sys.exit(f"APP_ENV is production, so no secret is generated. Set {', '.join(missing)}")
        return
    password = keep("POSTGRES_PASSWORD", os.environ.get("POSTGRES_PASSWORD") or secrets.token_urlsafe(24))
    keep("OWNER_DATABASE_URL", f"postgresql://postgres:{quote(password, safe='')}@{DATABASE}")
    for role, variable in ROLES.items():
        keep(variable, f"postgresql://{role}:{secrets.token_urlsafe(24)}@{DATABASE}")
    keep("SUPABASE_JWT_SECRET", secrets.token_urlsafe(48))
    keep("CREDENTIALS_KEY", Fernet.generate_key().decode())
    keep("ULTRAVOX_API_KEY", new_ultravox_key())
    # A key of your own is for the real Ultravox, the generated one for the stand-in.
    if os.environ.get("ULTRAVOX_API_KEY"):
        (VOLUME / "ULTRAVOX_API_URL").unlink(missing_ok=True)
    else:
        keep("ULTRAVOX_API_URL", STANDIN)


def keep(name: str, fresh: str) -> str:
    """Return the value stored under a name, after storing `fresh` if there is none."""
    path = VOLUME / name
    if not path.exists():
        draft = VOLUME / f".{name}"
        draft.touch(0o400)
        draft.chmod(0o600)
        draft.write_text(fresh)
        draft.chmod(0o400)
        draft.rename(path)  # complete or not there at all
    return path.read_text()


def give_roles_their_logins() -> None:
    """Let each role log in with the password of its URL; a URL of somebody else's is not ours to set up."""
    with psycopg.connect(os.environ["OWNER_DATABASE_URL"], autocommit=True) as conn:
        for role, variable in ROLES.items():
            login = conninfo_to_dict(os.environ[variable])
            # A pooler can want the project after the role: historical_sync_service.abcdefgh
            if str(login.get("user")).partition(".")[0] != role or not login.get("password"):
                print(f"{variable} is not a login of {role}: left as it is")
                continue
            # Hashed here, so that no log of the server can hold the password.
            hashed = conn.pgconn.encrypt_password(str(login["password"]).encode(), role.encode(), b"scram-sha-256")
            statement = sql.SQL("alter role {} login password {}")
            conn.execute(statement.format(sql.Identifier(role), sql.Literal(hashed.decode())))


def main() -> None:
    match sys.argv[1:]:
        case ["secrets"]:
            make_secrets()
        case ["roles"]:
            give_roles_their_logins()
        case ["demo" | "token"] if is_production():
            sys.exit("there is no demo agency in production")
        case ["demo"]:
            with psycopg.connect(os.environ["OWNER_DATABASE_URL"], autocommit=True) as conn:
                add_demo_agency(conn)
        case ["token"]:
            print(demo_token(os.environ["SUPABASE_JWT_SECRET"]))
        case _:
            sys.exit("usage: python -m deploy.stack secrets|roles|demo|token")


if __name__ == "__main__":
    main()
