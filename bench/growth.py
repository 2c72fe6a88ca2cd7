"""How much slower a start, a status, a list, a claim and a scrape get from 200 jobs to a million of 10,000 agencies.

`make bench`. Two databases in one embedded server, the same service on each in turn. Medians of what one client sees.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import DEVNULL
from uuid import UUID

import jwt
import psycopg
import urllib3

from bench.measure import table
from service.local.postgres import embedded_postgres
from service.local.processes import gunicorn, wait_until_ready
from service.migrate import migrate

SECRET = "benchmark-secret-" * 3
SIZES = {"few": (10, 20), "many": (10_000, 100)}  # agencies, jobs of each
ROUNDS, REQUESTS = 5, 40
PREFIX = "/functions/v1"
OPERATIONS = ("start", "status", "list", "claim", "scrape")


class Side:
    """A service on a database of one size."""

    def __init__(self, stack: ExitStack, url: str, port: int, agencies: int, jobs: int) -> None:
        migrate(url)
        self.conn = stack.enter_context(psycopg.connect(url, autocommit=True))
        self._fill(agencies, jobs)
        environment = {"DATABASE_URL": url, "SUPABASE_JWT_SECRET": SECRET, "LOG_LEVEL": "error", "WEB_WORKERS": "1"}
        self.origin = f"http://127.0.0.1:{port}"
        wait_until_ready(f"{self.origin}/readyz", stack.enter_context(gunicorn(port, environment, stderr=DEVNULL)))
        self.http = urllib3.PoolManager()

    def _fill(self, agencies: int, jobs: int) -> None:
        # An agency in five has an active job, its newest, and all have some history; rows lie in the order of time.
        self.conn.execute(
            """
            with agency as (
                insert into public.agencies (name) select 'Bench' from generate_series(1, %s) returning id
            ), member as (
                insert into public.users (id, agency_id) select id, id from agency
            )
            insert into public.historical_sync_jobs
                (agency_id, date_to, status, imported_calls, created_at, next_attempt_at)
            select id, now(), case when number = 1 then 'pending' else 'completed' end::public.sync_job_status, 100,
                now() - number * interval '1 day', case when number = 1 then now() + interval '1 day' end
            from agency
            cross join generate_series(case when hashtext(id::text) %% 5 = 0 then 1 else 2 end, %s) as number
            order by number desc
            """,
            [agencies, jobs],
        )
        self.conn.execute("select from historical_sync.metrics()")  # adds up what in life ends one by one
        self.conn.execute("vacuum full historical_sync.finished_jobs")
        self.conn.execute("vacuum analyze")
        self.conn.execute("checkpoint")
        rows = self.conn.execute(
            "select id from public.agencies except select agency_id from historical_sync.active_jobs limit %s",
            [min(agencies // 2, 100)],
        ).fetchall()
        self.free: list[UUID] = [row[0] for row in rows]

    def ask(self, method: str, path: str, user: UUID) -> None:
        expires = datetime.now(UTC) + timedelta(hours=1)
        claims = {"aud": "authenticated", "role": "authenticated", "exp": expires, "sub": str(user)}
        token = jwt.encode(claims, SECRET, algorithm="HS256")
        answer = self.http.request(method, self.origin + path, headers={"Authorization": f"Bearer {token}"})
        if answer.status != 200:
            raise RuntimeError(answer.data.decode())

    def start(self, user: UUID) -> None:
        self.ask("POST", f"{PREFIX}/start-historical-sync", user)

    def status(self, user: UUID) -> None:
        self.ask("GET", f"{PREFIX}/get-sync-status", user)

    def list(self, user: UUID) -> None:
        self.ask("GET", f"{PREFIX}/list-sync-jobs", user)

    def forget(self) -> None:
        self.conn.execute("delete from historical_sync.active_jobs where next_attempt_at is null")

    def claim(self, _: UUID) -> None:
        # In the future, so that nobody's turn it is: the look alone.
        self.conn.execute("select * from historical_sync.claim_due_job('1 minute')").fetchall()

    def scrape(self, _: UUID) -> None:
        self.http.request("GET", f"{self.origin}/metrics")


def milliseconds(side: Side, name: str) -> float:
    operation: Callable[[UUID], None] = getattr(side, name)
    taken = []
    for number in range(REQUESTS):
        user = side.free[number % len(side.free)]
        started = time.perf_counter()
        operation(user)
        taken.append((time.perf_counter() - started) * 1000)
        if name == "start":
            side.forget()
    return statistics.median(taken)


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_postgres(Path(folder) / "postgres") as server,
        ExitStack() as stack,
    ):
        sides = {}
        for port, (name, (agencies, jobs)) in enumerate(SIZES.items(), 8771):
            with psycopg.connect(server.get_uri(), autocommit=True) as conn:
                conn.execute(f"create database {name}")
            sides[name] = Side(stack, server.get_uri(database=name), port, agencies, jobs)
        measured: dict[tuple[str, str], list[float]] = {}
        for _ in range(ROUNDS):
            for operation in OPERATIONS:
                for name, side in sides.items():
                    measured.setdefault((operation, name), []).append(milliseconds(side, operation))
        rows = []
        for operation in OPERATIONS:
            few, many = (statistics.median(measured[operation, name]) for name in SIZES)
            rows.append((operation, f"{few:.2f}", f"{many:.2f}", f"{many / few:.2f}"))
        print(table(("ms", "200 jobs", "a million jobs", "ratio"), rows))


if __name__ == "__main__":
    main()
