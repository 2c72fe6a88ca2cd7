"""Requests per second of POST /start-historical-sync, created and in conflict, and of GET /get-sync-status, beside a
route without a database.

`make bench`. Needs wrk. The database is the embedded one with fsync on, gunicorn runs as configured; client, server
and database share the machine's processors.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import jwt
import psycopg

from service.local.postgres import embedded_postgres
from service.local.processes import gunicorn, wait_until_ready
from service.migrate import migrate

PORT = 8765
SECRET = "benchmark-secret-" * 3
AGENCIES = 40_000
SECONDS, THREADS, CONNECTIONS = 8, 2, 16
START = "/functions/v1/start-historical-sync"
STATUS = "/functions/v1/get-sync-status"
LUA = Path(__file__).with_suffix(".lua")


def seed(url: str, tokens: Path) -> None:
    users = [uuid4() for _ in range(AGENCIES)]
    expires = datetime.now(UTC) + timedelta(hours=1)
    claims = {"aud": "authenticated", "role": "authenticated", "exp": expires}
    tokens.write_text("\n".join(jwt.encode({**claims, "sub": str(user)}, SECRET, algorithm="HS256") for user in users))
    with psycopg.connect(url) as conn, conn.cursor() as cursor:
        with cursor.copy("copy public.agencies (id, name) from stdin") as copy:
            for user in users:
                copy.write_row((user, "Bench"))
        with cursor.copy("copy public.users (id, agency_id) from stdin") as copy:
            for user in users:
                copy.write_row((user, user))


def wrk(path: str, *script: str) -> float:
    load = [f"-d{SECONDS}s", f"-t{THREADS}", f"-c{CONNECTIONS}"]
    command = ["wrk", *load, *script[:2], f"http://127.0.0.1:{PORT}{path}", *script[2:]]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    print(output)
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if found is None:
        sys.exit("wrk printed no rate")
    return float(found[1])


def main() -> None:
    if shutil.which("wrk") is None:
        print("wrk is missing: the requests per second of the web service are not measured")
        return
    with tempfile.TemporaryDirectory() as folder, embedded_postgres(Path(folder) / "postgres") as server:
        url, tokens = server.get_uri(), Path(folder) / "tokens"
        migrate(url)
        seed(url, tokens)
        environment = {"DATABASE_URL": url, "SUPABASE_JWT_SECRET": SECRET, "LOG_LEVEL": "warning"}
        with gunicorn(PORT, environment) as process, psycopg.connect(url, autocommit=True) as conn:
            wait_until_ready(f"http://127.0.0.1:{PORT}/readyz", process)
            script = ("-s", str(LUA), "--", str(tokens), str(THREADS))
            create = wrk(START, *script, "POST")
            created = conn.execute("select count(*) from public.historical_sync_jobs").fetchall()[0][0]
            conn.execute(
                "insert into public.historical_sync_jobs (agency_id, date_to)"
                " select id, now() from public.agencies on conflict do nothing"
            )
            conflict = wrk(START, *script, "POST")
            status = wrk(STATUS, *script, "GET")
            limit = wrk("/healthz")
    print(f"{created} jobs created in the first run (of {AGENCIES} agencies)")
    rates = (("create", create), ("conflict", conflict), ("status", status), ("healthz (no database)", limit))
    for name, rate in rates:
        print(f"{name:24}{rate:8.0f} requests/s  {rate / limit:5.2f} of healthz")


if __name__ == "__main__":
    main()
