"""What both peers have in common: the statements of service/jobs/people.py as asyncpg wants them, and the token."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import jwt
from fastapi import FastAPI

SECRET = os.environ["SUPABASE_JWT_SECRET"]
URL = os.environ["DATABASE_URL"]

CALLER = """
    select caller.revocation, caller.agency_id as caller_agency_id, wanted.*
    from historical_sync.caller($1, $2) as caller
    left join lateral
"""
CREATE = (
    CALLER
    + """
    (
        select historical_sync.create_job(
            p_agency_id => caller.agency_id, p_requested_by => $1, p_date_from => $3, p_date_to => $4
        ) as id
        where caller.agency_id is not null
    ) as wanted on true
"""
)
ACTIVE = CALLER + "historical_sync.active_job(caller.agency_id) as wanted on true"
LATEST = CALLER + "historical_sync.latest_job(caller.agency_id) as wanted on true"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.pool = await asyncpg.create_pool(URL, min_size=8, max_size=8, command_timeout=5, reset=keep_as_it_is)
    yield
    await app.state.pool.close()


def verified(token: str) -> tuple[UUID, UUID | None]:
    """Return the user and the session of a token."""
    claims = jwt.decode(
        token,
        SECRET,
        algorithms=["HS256"],
        audience="authenticated",
        leeway=timedelta(seconds=30),
        options={"require": ["exp", "aud", "sub"]},
    )
    if claims.get("role") != "authenticated":
        raise jwt.InvalidTokenError("role")
    session_id = claims.get("session_id")
    return UUID(claims["sub"]), session_id and UUID(session_id)


def shown(row: Any) -> dict[str, Any]:
    return {
        name: _plain(value)
        for name, value in row.items()
        if name not in ("revocation", "caller_agency_id", "agency_id")
    }


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


async def keep_as_it_is(_: Any) -> None:
    """No statement here leaves anything behind in a session, so none has to clean up after it."""
