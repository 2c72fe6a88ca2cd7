"""What the web service does of starts, conflicts and status answers in a second, beside FastAPI with asyncpg.

`make bench`. Needs wrk, h2load and pgbench. Three peers (bench/peers): one does the same work, one the least possible,
and one the least that is possible with Flask, gunicorn and psycopg. The limit is the plain insert by pgbench. Each
server has two processes of eight connections; client, servers and the database (the embedded one, fsync on) share the
machine. The others stand idle while one is measured.
"""

import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import jwt
import psycopg

from bench.measure import Spread, cpu_seconds, memory_mib, run, table, tree
from service.local.postgres import embedded_postgres
from service.local.processes import child, gunicorn, wait_until_ready
from service.migrate import migrate

SECRET = "benchmark-secret-" * 3
AGENCIES = 40_000
ROUNDS, SECONDS, THREADS, CONNECTIONS = 5, 4, 2, 16
STEADY_RATE, STEADY_SECONDS, STEADY_CONNECTIONS, STEADY_ROUNDS = 300, 5, 30, 5
# Between the first requests of two connections, which all keep the same pace: all at once would measure a queue.
STEADY_PERIOD = "3ms"
START = "/functions/v1/start-historical-sync"
STATUS = "/functions/v1/get-sync-status"
LUA = Path(__file__).with_name("load.lua")
PEER_PYTHON = Path(__file__).with_name(".venv") / "bin" / "python"


class Contender(NamedTuple):
    """A server that is measured."""

    name: str
    port: int
    pid: int

    @property
    def pids(self) -> list[int]:
        """Its processes; asked for when all of them are there, and not at the first answer, which one worker gives."""
        return tree(self.pid)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


class Load(NamedTuple):
    """A kind of request, and whether all of them are to be refused."""

    name: str
    method: str
    path: str
    has_job: bool
    knows_answer: bool = False
    refused: bool = False


LOADS = (
    Load("create", "POST", START, has_job=False),
    Load("conflict", "POST", START, has_job=True, refused=True),
    Load("status, 200", "GET", STATUS, has_job=True),
    Load("status, 304", "GET", STATUS, has_job=True, knows_answer=True),
)


class Figures(NamedTuple):
    per_second: float
    cpu_ms: float


def main() -> None:
    for tool in ("wrk", "h2load", "pgbench"):
        if shutil.which(tool) is None:
            print(f"{tool} is missing: requests per second are not measured")
            return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as folder, embedded_postgres(Path(folder) / "postgres") as server:
        bench = Bench(server.get_uri(), Path(folder))
        with bench.contenders() as contenders:
            figures: dict[tuple[str, str], list[Figures]] = {}
            for _ in range(rounds):
                for load in LOADS:
                    for contender in contenders:
                        figures.setdefault((load.name, contender.name), []).append(bench.measure(contender, load))
            print(rates(figures, contenders))
            print(f"\npgbench, the plain insert: {bench.limit():,.0f} a second\n")
            print(bench.steady(contenders))
            print()
            rows = [("MiB", *(f"{memory_mib(each.pids) / 2:.0f}" for each in contenders))]
            print(table(("memory per worker", *(each.name for each in contenders)), rows))


def rates(figures: dict[tuple[str, str], list[Figures]], contenders: list[Contender]) -> str:
    names = [each.name for each in contenders]
    rows = []
    for load in LOADS:
        spreads = [Spread(tuple(each.per_second for each in figures[load.name, name])) for name in names]
        costs = [statistics.median(each.cpu_ms for each in figures[load.name, name]) for name in names]
        ratios = [f"{spreads[0].median / each.median:.2f}" for each in spreads[1:]]
        rows.append((load.name, *map(str, spreads), *ratios, *(f"{cost:.2f}" for cost in costs)))
    head = ("requests/s", *names, *(f"× {name}" for name in names[1:]), *(f"ms CPU, {name}" for name in names))
    return table(head, rows)


class Bench:
    """A database with agencies, and the servers on it."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder, self._tokens = url, folder, folder / "tokens"
        migrate(url)
        self._seed()

    def _seed(self) -> None:
        users = [uuid4() for _ in range(AGENCIES)]
        claims = {"aud": "authenticated", "role": "authenticated", "exp": datetime.now(UTC) + timedelta(hours=9)}
        self._tokens.write_text(
            "\n".join(jwt.encode({**claims, "sub": str(user)}, SECRET, algorithm="HS256") for user in users)
        )
        with psycopg.connect(self._url) as conn, conn.cursor() as cursor:
            for statement in (
                "copy public.agencies (id, name) from stdin",
                "copy public.users (id, agency_id) from stdin",
            ):
                with cursor.copy(statement) as copy:
                    for user in users:
                        copy.write_row((user, "Bench" if "agencies" in statement else user))

    @contextmanager
    def contenders(self) -> Iterator[list[Contender]]:
        environment = {"DATABASE_URL": self._url, "SUPABASE_JWT_SECRET": SECRET}
        with ExitStack() as stack:
            log = stack.enter_context((self._folder / "log").open("wb"))
            servers = {"this service": stack.enter_context(gunicorn(8765, environment, stderr=log))}
            for port, (name, app) in enumerate((("same work", "same_work"), ("bare", "bare")), 8766):
                command = [PEER_PYTHON, "-m", "uvicorn", f"bench.peers.{app}:app", f"--port={port}", "--workers=2"]
                command += ["--no-access-log", "--log-level=warning"]
                metrics = self._folder / app
                metrics.mkdir()
                variables = {**environment, "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
                servers[name] = stack.enter_context(child(command, variables, stderr=log))
            # Not by gunicorn.conf.py, which is this service's.
            options = ["--config=/dev/null", "--worker-class=gevent", "--workers=2", "--bind=127.0.0.1:8768"]
            command = ["gunicorn", *options, "bench.peers.bare_flask:app"]
            servers["bare Flask"] = stack.enter_context(child(command, environment, stderr=log))
            found = []
            for port, (name, process) in enumerate(servers.items(), 8765):
                wait_until_ready(f"http://127.0.0.1:{port}/readyz", process)
                found.append(Contender(name, port, process.pid))
            yield found

    def measure(self, contender: Contender, load: Load) -> Figures:
        self._set_jobs(load.has_job)
        script = ["-s", str(LUA), "--", str(self._tokens), str(THREADS), load.method]
        if load.knows_answer:
            script.append("*")
        pids = contender.pids
        before = cpu_seconds(pids)
        output = run(
            [
                "wrk",
                f"-d{SECONDS}s",
                f"-t{THREADS}",
                f"-c{CONNECTIONS}",
                *script[:2],
                contender.url(load.path),
                *script[2:],
            ]
        )
        used = cpu_seconds(pids) - before
        answers = int(found(r"(\d+) requests in", output))
        refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
        # A start that wrk did not wait for can come after the jobs were removed for the next one, and be in its way.
        if abs((int(refused[1]) if refused else 0) - (answers if load.refused else 0)) > CONNECTIONS:
            sys.exit(f"{contender.name} did not answer as it should: {output}")
        return Figures(float(found(r"Requests/sec:\s+([\d.]+)", output)), used * 1000 / answers)

    def _set_jobs(self, present: bool) -> None:
        with psycopg.connect(self._url, autocommit=True) as conn:
            if not present:
                conn.execute("truncate public.historical_sync_jobs cascade")
                return
            conn.execute(
                "insert into public.historical_sync_jobs (agency_id, date_to)"
                " select id, now() from public.agencies on conflict do nothing"
            )
            conn.execute("vacuum analyze public.historical_sync_jobs")

    def limit(self) -> float:
        """Return how many jobs a second pgbench inserts with as many clients, and nothing else."""
        script = self._folder / "insert.sql"
        script.write_text(
            "insert into public.historical_sync_jobs (agency_id, date_to)"
            " select id, now() from numbered where number = (select nextval('numbers'))"
        )
        with psycopg.connect(self._url, autocommit=True) as conn:
            conn.execute("truncate public.historical_sync_jobs cascade")
            conn.execute("create sequence numbers")
            conn.execute("create table numbered as select row_number() over () as number, id from public.agencies")
            conn.execute("create unique index on numbered (number)")
        # No more than there are agencies: each can have one.
        load = [f"-c{CONNECTIONS}", f"-j{THREADS}", f"-t{AGENCIES // CONNECTIONS}", "-n", "-M", "prepared"]
        return float(found(r"tps = ([\d.]+)", run(["pgbench", *load, "-f", script, self._url])))

    def steady(self, contenders: list[Contender]) -> str:
        """Return how long answers take at a rate that all of them keep up with."""
        self._set_jobs(True)
        rows = []
        for load in (LOADS[1], LOADS[2]):
            taken: dict[str, list[float]] = {}
            for _ in range(STEADY_ROUNDS):
                for contender in contenders:
                    taken.setdefault(contender.name, []).append(self._p99(contender, load))
            rows.append((load.name, *(f"{statistics.median(each):.1f}" for each in taken.values())))
        return table((f"p99 at {STEADY_RATE} requests/s, ms", *(each.name for each in contenders)), rows)

    def _p99(self, contender: Contender, load: Load) -> float:
        log = self._folder / "times"
        log.unlink(missing_ok=True)
        rate = STEADY_RATE // STEADY_CONNECTIONS
        command = ["h2load", "--h1", "-t1", f"-c{STEADY_CONNECTIONS}", f"-n{STEADY_RATE * STEADY_SECONDS}"]
        command += [f"--rps={rate}", "--rate=1", f"--rate-period={STEADY_PERIOD}", f"--log-file={log}"]
        token = self._tokens.read_text().split("\n", 1)[0]
        command.append(f"--header=Authorization: Bearer {token}")
        if load.method == "POST":
            (self._folder / "body").write_text("{}")
            command += ["--header=Content-Type: application/json", f"--data={self._folder / 'body'}"]
        run([*command, contender.url(load.path)])
        # Of each answer: when it began, its status, how many microseconds it took.
        answers = [line.split() for line in log.read_text().splitlines()]
        if {status for _, status, _ in answers} != {"409" if load.refused else "200"}:
            sys.exit(f"{contender.name} did not answer as it should")
        microseconds = sorted(int(taken) for _, _, taken in answers)
        return microseconds[len(microseconds) * 99 // 100] / 1000


def found(pattern: str, output: str) -> str:
    match = re.search(pattern, output)
    if match is None:
        sys.exit(f"nothing like {pattern} in {output}")
    return match[1]


if __name__ == "__main__":
    main()
