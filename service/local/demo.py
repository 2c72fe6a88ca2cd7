"""The demo agency of the local stacks: its user, its rows, its token."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from psycopg import Connection

DEMO_AGENCY = "a9e7c1d0-0000-4000-8000-000000000001"
DEMO_USER = "a9e7c1d0-0000-4000-8000-000000000002"
DEMO_EMAIL = "demo@agency.example"
TOKEN_LIFETIME = timedelta(hours=8)
DEMO_APP = "service.local.demo_app:app"
# An import of the demo's 4000 calls is to be watched, cancelled and resumed: pages smaller than Ultravox' of 100, and
# few a second, make it about half a minute.
DEMO_PAGE_SIZE = 30
DEMO_REQUESTS_PER_SECOND = 5


def add_demo_agency(conn: Connection[Any]) -> None:
    """Add the agency and its user, unless they are there."""
    conn.execute(
        "insert into public.agencies (id, name) values (%s, 'Demo Agency') on conflict do nothing", [DEMO_AGENCY]
    )
    conn.execute(
        "insert into public.users (id, agency_id, role) values (%s, %s, 'owner') on conflict do nothing",
        [DEMO_USER, DEMO_AGENCY],
    )


def demo_token(jwt_secret: str, *, issuer: str | None = None) -> str:
    """Return an access token of the demo user, as Supabase Auth would sign it."""
    now = datetime.now(UTC)
    claims = {
        "sub": DEMO_USER,
        "aud": "authenticated",
        "role": "authenticated",
        "email": DEMO_EMAIL,
        "iat": now,
        "exp": now + TOKEN_LIFETIME,
        **({"iss": issuer} if issuer else {}),
    }
    return jwt.encode(claims, jwt_secret, algorithm="HS256")


def new_ultravox_key() -> str:
    """Make up an API key: 8 characters, a period, 32 characters, as Ultravox makes them."""
    return f"{secrets.token_hex(4)}.{secrets.token_hex(16)}"
