"""The least that anybody could get away with: the token and the statement, and nothing of the contract around them."""

import asyncpg
import orjson
from fastapi import FastAPI, Request, Response

from bench.peers.common import ACTIVE, CREATE, LATEST, lifespan, shown, verified

app = FastAPI(lifespan=lifespan, openapi_url=None)


def answer(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


@app.post("/functions/v1/start-historical-sync")
async def start(request: Request) -> Response:
    who = verified(request.headers["authorization"][7:])
    async with request.app.state.pool.acquire() as conn:
        try:
            row = await conn.fetchrow(CREATE, *who, None, None)
        except asyncpg.UniqueViolationError:
            return answer({"job": shown(await conn.fetchrow(ACTIVE, *who))}, 409)
    return answer({"job_id": str(row["id"]), "status": "pending"})


@app.get("/functions/v1/get-sync-status")
async def status(request: Request) -> Response:
    who = verified(request.headers["authorization"][7:])
    return answer({"job": shown(await request.app.state.pool.fetchrow(LATEST, *who))})


@app.get("/readyz")
async def readyz(request: Request) -> Response:
    await request.app.state.pool.fetchval("select 1")
    return answer({"status": "ok"})
