"""What docker-compose.yml needs for development: `python -m service.local.compose secrets|demo|token`."""

import os
import secrets
import sys
from pathlib import Path
from urllib.parse import quote

import psycopg
from cryptography.fernet import Fernet

from service.local.demo import DEMO_REQUESTS_PER_SECOND, add_demo_agency, demo_token, new_ultravox_key
from service.local.kept_secrets import kept_secret

VOLUME = Path("/run/secrets-volume")
DATABASE = "postgres:5432/historical_sync"
STANDIN = {
    "ULTRAVOX_API_URL": "http://standin:9100",
    "ULTRAVOX_REQUESTS_PER_SECOND": str(DEMO_REQUESTS_PER_SECOND),
}


def make_secrets() -> None:
    """Make up each development secret once; deploy/entrypoint.sh passes them on."""
    password = _keep("POSTGRES_PASSWORD", os.environ.get("POSTGRES_PASSWORD") or secrets.token_urlsafe(24))
    _keep("OWNER_DATABASE_URL", f"postgresql://postgres:{quote(password, safe='')}@{DATABASE}")
    _keep("DATABASE_URL", _login("historical_sync_service"))
    _keep("PROCESSOR_DATABASE_URL", _login("historical_sync_processor"))
    _keep("SUPABASE_JWT_SECRET", secrets.token_urlsafe(48))
    _keep("CREDENTIALS_KEY", Fernet.generate_key().decode())
    _keep("ULTRAVOX_API_KEY", new_ultravox_key())
    # A key of your own is for the real Ultravox, the generated one for the stand-in, at the demo's pace.
    for name, value in STANDIN.items():
        if os.environ.get("ULTRAVOX_API_KEY"):
            (VOLUME / name).unlink(missing_ok=True)
        else:
            _keep(name, value)


def add_demo() -> None:
    with psycopg.connect(os.environ["OWNER_DATABASE_URL"], autocommit=True) as conn:
        add_demo_agency(conn)


def _keep(name: str, fresh: str) -> str:
    return kept_secret(VOLUME, name, lambda: fresh)


def _login(role: str) -> str:
    return f"postgresql://{role}:{secrets.token_urlsafe(24)}@{DATABASE}"


def main() -> None:
    if os.environ.get("APP_ENV") == "production":
        sys.exit("this is for development: production has no demo agency and no generated secret")
    match sys.argv[1:]:
        case ["secrets"]:
            make_secrets()
        case ["demo"]:
            add_demo()
        case ["token"]:
            print(demo_token(os.environ["SUPABASE_JWT_SECRET"]))
        case _:
            sys.exit("usage: python -m service.local.compose secrets|demo|token")


if __name__ == "__main__":
    main()
