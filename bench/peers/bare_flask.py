"""The least that Flask, gunicorn and psycopg can do: as bare.py, with the libraries of this service, from its .venv.

What this service takes beyond that is the contract.
"""

import os
from typing import Any
from uuid import UUID

import jwt
import msgspec
from flask import Flask, Response, request
from jwt import PyJWK
from jwt.utils import base64url_encode
from psycopg.errors import UniqueViolation
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from service.jobs.job import JOB_FIELDS
from service.jobs.people import ACTIVE_JOB, CREATE_JOB, LATEST_JOB

SECRET = base64url_encode(os.environ["SUPABASE_JWT_SECRET"].encode()).decode()
KEY = PyJWK({"kty": "oct", "k": SECRET, "alg": "HS256"})

app = Flask(__name__)
# A worker imports this after its fork.
pool = ConnectionPool(
    os.environ["DATABASE_URL"],
    min_size=8,
    max_size=8,
    kwargs={"autocommit": True, "row_factory": dict_row},
    open=True,
)


def ask(statement: str, **parameters: Any) -> dict[str, Any]:
    claims = jwt.decode(request.headers["Authorization"][7:], KEY, ["HS256"], audience="authenticated", leeway=30)
    with pool.connection() as conn:
        return conn.execute(statement, {"user_id": UUID(claims["sub"]), "session_id": None, **parameters}).fetchone()


def answer(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, mimetype="application/json")


@app.post("/functions/v1/start-historical-sync")
def start() -> Response:
    try:
        row = ask(CREATE_JOB, date_from=None, date_to=None)
    except UniqueViolation:
        return answer({"job": shown(ask(ACTIVE_JOB))}, 409)
    return answer({"job_id": row["id"], "status": "pending"})


@app.get("/functions/v1/get-sync-status")
def status() -> Response:
    return answer({"job": shown(ask(LATEST_JOB))})


@app.get("/readyz")
def readyz() -> Response:
    with pool.connection() as conn:
        conn.execute("select 1")
    return answer({"status": "ok"})


def shown(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in JOB_FIELDS}
