"""How fast imports are, beside what limits them and beside dlt: `python -m bench.process`, or some of its ROWS by name.

What is compared is measured in alternating rounds of one run, so that whatever else the machine does meets all of it;
medians are shown, with the lowest and the highest. Ultravox' stand-in (bench/ultravox.py), the processor and Postgres,
with fsync on, share the machine's processors.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import urllib3
from pydantic import SecretStr

from bench.measure import wait_for_end
from bench.plain_insert import insert_pages, keep_pages
from service.local.checkout import ROOT
from service.local.postgres import embedded_postgres
from service.local.processes import child, wait_until_ready
from service.migrate import migrate
from service.processor.plan import plan_windows
from service.processor.ultravox import UltravoxClient, first_query

PORT = 8766
KEY = SecretStr("benchmrk.0123456789abcdef0123456789abcdef")
UNTIL = datetime(2026, 10, 31, tzinfo=UTC)
CALLS = 20_000
THREADS = 96
ROUNDS = 5
DLT = "dlt[postgres]==1.31.0"
DLT_WINDOWS = 20
# No limit that would hold an import up, where it is not what is measured.
UNLIMITED = "1000"


@dataclass(frozen=True)
class Outcome:
    """What an import took: the whole command, the jobs from the first claim to the last end, a processor's memory."""

    seconds: float
    job_seconds: float
    mebibytes: float
    requests: dict[int, int]


class Bench:
    """A database, and an Ultravox of so many calls."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    @contextmanager
    def ultravox(self, calls: int = CALLS, *, latency: float = 0, limit: int | None = None) -> Iterator[None]:
        options = ["--port", str(PORT), "--calls", str(calls), "--latency", str(latency), "--until", UNTIL.isoformat()]
        options += ["--limit", str(limit)] if limit else []
        with child(["python", "-m", "bench.ultravox", *options], {}) as standin:
            wait_until_ready(f"http://127.0.0.1:{PORT}/api/calls?pageSize=1", standin)
            yield

    def empty(self, agencies: int = 1) -> list[str]:
        """Empty the database and return the ids of new agencies."""
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute("drop schema if exists dlt_bench cascade")
            conn.execute("truncate public.agencies, historical_sync.ultravox_requests cascade")
            conn.execute("vacuum")
            conn.execute("checkpoint")
            insert = "insert into public.agencies (name) select 'Bench' from generate_series(1, %s) returning id"
            return [str(agency) for [agency] in conn.execute(insert, [agencies]).fetchall()]

    def import_calls(
        self, requests_per_second: str = UNLIMITED, calls: int = CALLS, *, agencies: int = 1, processors: int = 1
    ) -> Outcome:
        """Run a pass over one job of everything for each agency, with so many processors beside each other."""
        with psycopg.connect(self.url, autocommit=True) as conn:
            for agency in self.empty(agencies):
                conn.execute("select historical_sync.create_job(%s, null, null, %s)", [agency, UNTIL])
        environment = {
            **os.environ,
            "DATABASE_URL": self.url,
            "ULTRAVOX_API_URL": f"http://127.0.0.1:{PORT}",
            "ULTRAVOX_API_KEY": KEY.get_secret_value(),
            "ULTRAVOX_REQUESTS_PER_SECOND": requests_per_second,
            "LOG_LEVEL": "error",
        }
        command = [str(Path(sys.executable).with_name("flask")), "--app", "wsgi", "process-historical-sync"]
        started = time.perf_counter()
        running = [
            subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) for _ in range(processors)
        ]
        mebibytes = max(wait_for_end(process) for process in running)
        seconds = time.perf_counter() - started
        with psycopg.connect(self.url) as conn:
            jobs = conn.execute("select imported_calls, verification from public.historical_sync_jobs").fetchall()
            [[job_seconds]] = conn.execute(
                """
                select extract(epoch from max(completed_at) - min(started_at))::float from public.historical_sync_jobs
                """
            )
            counted = conn.execute("select status, requests from historical_sync.ultravox_requests")
            requests: dict[int, int] = dict(counted.fetchall())
        if any(process.returncode for process in running) or jobs != [(calls, "verified")] * agencies:
            sys.exit(f"the imports did not complete: {jobs}")
        return Outcome(seconds, job_seconds, mebibytes, requests)

    def import_with_dlt(self, windows: int) -> float:
        self.empty()
        sockets = self.url.partition("host=")[2]
        command = [
            str(self.dlt_python()),
            str(ROOT / "bench" / "dlt_import.py"),
            f"http://127.0.0.1:{PORT}",
            sockets,
            str(windows),
        ]
        started = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT / "bench", check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        if int(done.stdout) != CALLS:
            sys.exit(f"dlt imported {done.stdout} calls")
        return seconds

    def dlt_python(self) -> Path:
        """Return the Python of an environment that has dlt; made when it is first asked for."""
        environment = self.folder / "dlt"
        if not environment.exists():
            subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
            subprocess.run([str(environment / "bin" / "pip"), "install", "--quiet", DLT], check=True)
        return environment / "bin" / "python"


def fetch_pages(keep: Callable[[list[str]], object] = lambda _: None) -> float:
    """Fetch all pages as a job does, window beside window, and store nothing."""
    client = UltravoxClient(f"http://127.0.0.1:{PORT}", timeout=30, connections=THREADS)
    started = time.perf_counter()
    histogram = client.histogram(KEY, None, UNTIL, seconds=30)
    if histogram is None:
        sys.exit("there is no histogram")
    seams = plan_windows(histogram, None, UNTIL, page_size=100, threads=THREADS).seams

    def fetch(starts_at: datetime | None, ends_at: datetime) -> None:
        query: str | None = first_query(starts_at, ends_at - timedelta.resolution, 100)
        while query:
            page = client.page(KEY, query)
            keep(page.calls)
            query = page.next_query

    with ThreadPoolExecutor(THREADS) as threads:
        for fetched in [threads.submit(fetch, *bounds) for bounds in zip([None, *seams], [*seams, UNTIL], strict=True)]:
            fetched.result()
    return time.perf_counter() - started


def alternating(*measures: Callable[[], Any]) -> list[list[Any]]:
    """Measure one after the other, in so many rounds; return what each has brought."""
    rounds = [[measure() for measure in measures] for _ in range(ROUNDS)]
    return [list(brought) for brought in zip(*rounds, strict=True)]


def spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def show(name: str, *values: str) -> None:
    print(f"| {' | '.join([name, *values])} |", flush=True)


def import_beside_its_limits(bench: Bench) -> None:
    with bench.ultravox():
        pages: list[list[str]] = []
        fetch_pages(pages.append)
        keep_pages(bench.url, pages)
        fetched, inserted, imported = alternating(
            fetch_pages, lambda: insert_pages(bench.url, *bench.empty()), bench.import_calls
        )
    jobs = [outcome.job_seconds for outcome in imported]
    limit = max(statistics.median(fetched), statistics.median(inserted))
    show("fetching the pages alone", spread(fetched), "")
    show("one plain `insert … select` of the same pages", spread(inserted), "")
    show("the import, from claim to end", spread(jobs), f"{statistics.median(jobs) / limit:.2f} × the longer one")


def import_beside_dlt(bench: Bench, latency: float) -> None:
    with bench.ultravox(latency=latency):
        imported, one_by_one, parallel = alternating(
            bench.import_calls, lambda: bench.import_with_dlt(1), lambda: bench.import_with_dlt(DLT_WINDOWS)
        )
    ours = [outcome.seconds for outcome in imported]
    where = f"{latency * 1000:.0f} ms a page"
    show(f"the whole command, {where}", spread(ours), "")
    for name, theirs in (("page after page", one_by_one), (f"{DLT_WINDOWS} windows at once", parallel)):
        faster = statistics.median(theirs) / statistics.median(ours)
        show(f"dlt, {name}, {where}", spread(theirs), f"{faster:.1f} × as long")


def import_at_the_rate_limit(bench: Bench) -> None:
    calls, limit = 200_000, 200
    with bench.ultravox(calls, latency=0.3, limit=limit):
        outcome = bench.import_calls("190", calls)
        rate = urllib3.request("GET", f"http://127.0.0.1:{PORT}/rate").json()["rate"]
    show(
        f"{calls} calls at 300 ms a page, {limit} requests/s allowed",
        f"{rate:.0f} requests/s",
        f"{rate / limit:.0%} of the limit, {outcome.requests.get(429, 0)} times 429",
    )


def memory(bench: Bench) -> None:
    for calls in (10_000, 200_000, 1_000_000):
        with bench.ultravox(calls):
            outcome = bench.import_calls(calls=calls)
        show(
            f"memory of the processor, {calls} calls",
            f"{outcome.mebibytes:.0f} MiB",
            f"{calls / outcome.job_seconds:.0f} calls/s",
        )


def imports_of_agencies(bench: Bench) -> None:
    agencies, calls = 20, 5_000
    run = partial(bench.import_calls, calls=calls, agencies=agencies)
    with bench.ultravox(calls, latency=0.1):
        one, four = alternating(partial(run, processors=1), partial(run, processors=4))
    for processors, outcomes in (("one processor", one), ("four processors", four)):
        seconds = [outcome.job_seconds for outcome in outcomes]
        each_second = agencies * calls / statistics.median(seconds)
        name = f"{agencies} agencies at once, {calls} calls each, 100 ms a page, {processors}"
        show(name, spread(seconds), f"{each_second:.0f} calls/s")


ROWS: dict[str, Callable[[Bench], None]] = {
    "limits": import_beside_its_limits,
    "dlt": lambda bench: import_beside_dlt(bench, 0.0),
    "dlt-latency": lambda bench: import_beside_dlt(bench, 0.1),
    "rate": import_at_the_rate_limit,
    "memory": memory,
    "agencies": imports_of_agencies,
}


def main() -> None:
    with tempfile.TemporaryDirectory() as name, embedded_postgres(Path(name) / "postgres") as server:
        migrate(server.get_uri())
        bench = Bench(server.get_uri(), Path(name))
        show("imports", "measured", "")
        show("---", "---", "---")
        for row in sys.argv[1:] or ROWS:
            ROWS[row](bench)


if __name__ == "__main__":
    main()
