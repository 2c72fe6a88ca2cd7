"""What somebody would write instead: FastAPI, asyncpg, uvicorn with uvloop and httptools; all that the contract asks
of a start and of a status."""

import hashlib
import sys
import time
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

import asyncpg
import jwt
import orjson
import structlog
from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from prometheus_client import Histogram
from pydantic import BaseModel, ConfigDict

from bench.peers.common import ACTIVE, CREATE, LATEST, lifespan, shown, verified

REQUESTS = Histogram("peer_request_duration_seconds", "Requests.", ["route", "method", "status"])

# The fastest way that structlog's documentation describes.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(serializer=orjson.dumps),
    ],
    logger_factory=structlog.BytesLoggerFactory(file=sys.stderr.buffer),
    cache_logger_on_first_use=True,
)
log = structlog.get_logger()


class Refusal(Exception):
    def __init__(self, status: int, code: str, error: str, **details: Any) -> None:
        self.status, self.body = status, {"error": error, "code": code, **details}


class Range(BaseModel):
    model_config = ConfigDict(extra="forbid")
    date_from: datetime | None = None
    date_to: datetime | None = None


class Frame:
    """Around every request: its id, its log line, its place in the histogram."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = time.perf_counter()
        sent = dict(scope["headers"]).get(b"x-request-id")
        request_id = sent if sent and len(sent) <= 128 else str(uuid4()).encode()
        structlog.contextvars.bind_contextvars(request_id=request_id.decode("latin-1"))
        status = 500

        async def send_with_id(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id))
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unknown")
            REQUESTS.labels(route, scope["method"], str(status)).observe(seconds)
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                duration_ms=round(seconds * 1000, 2),
            )
            structlog.contextvars.clear_contextvars()


app = FastAPI(lifespan=lifespan, openapi_url=None)
app.add_middleware(
    CORSMiddleware,
    allow_origins=["*"],
    allow_methods=["GET", "POST"],
    allow_headers=["authorization", "x-client-info", "apikey", "content-type"],
    expose_headers=["x-request-id", "retry-after", "etag", "allow"],
    max_age=86400,
)
app.add_middleware(Frame)


@app.exception_handler(Refusal)
async def refuse(_: Request, refusal: Refusal) -> Response:
    return answer(refusal.body, refusal.status)


@app.exception_handler(RequestValidationError)
async def refuse_fields(_: Request, error: RequestValidationError) -> Response:
    return answer({"error": "The request has invalid fields.", "code": "invalid_fields"}, 400)


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, "application/json")


async def principal(authorization: Annotated[str, Header()] = "") -> tuple[UUID, UUID | None]:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise Refusal(401, "token_missing", "An Authorization header with a Bearer token is required.")
    try:
        found = verified(token)
    except (jwt.PyJWTError, ValueError):
        raise Refusal(401, "token_invalid", "The access token is invalid.") from None
    structlog.contextvars.bind_contextvars(user_id=str(found[0]))
    return found


Principal = Annotated[tuple[UUID, UUID | None], Depends(principal)]


def checked(row: Any) -> Any:
    if row["revocation"] is not None:
        raise Refusal(401, "session_revoked", "The session is no longer valid. Sign in again.")
    if row["caller_agency_id"] is None:
        raise Refusal(403, "no_agency", "The user does not belong to an agency.")
    return row


@app.post("/functions/v1/start-historical-sync")
async def start(request: Request, who: Principal, wanted: Range | None = None) -> Response:
    wanted = wanted or Range()
    async with request.app.state.pool.acquire() as conn:
        try:
            row = checked(await conn.fetchrow(CREATE, *who, wanted.date_from, wanted.date_to))
        except asyncpg.UniqueViolationError:
            job = shown(await conn.fetchrow(ACTIVE, *who))
            raise Refusal(409, "sync_already_active", "A job already exists for this agency.", job=job) from None
    return answer({"job_id": str(row["id"]), "status": "pending"})


@app.get("/functions/v1/get-sync-status")
async def status(request: Request, who: Principal, if_none_match: Annotated[str, Header()] = "") -> Response:
    async with request.app.state.pool.acquire() as conn:
        row = checked(await conn.fetchrow(LATEST, *who))
    job = shown(row) if row["id"] else None
    active = bool(job) and job["status"] in ("pending", "in_progress")
    body = orjson.dumps({"active": active, "job" if active else "recent_job": job})
    etag = f'"{hashlib.sha1(body).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    if if_none_match == "*" or etag in if_none_match:
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, "application/json")


@app.get("/readyz")
async def readyz(request: Request) -> Response:
    await request.app.state.pool.fetchval("select 1")
    return answer({"status": "ok"})
