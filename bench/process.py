"""Calls per second of an import: with one window and with eight, at no latency and at 100 ms per request.

`make bench`. A stand-in Ultravox serves the pages from another process; the database is the embedded one with fsync
on. Processor, stand-in and database share the machine's processors. The stand-in's time per page alone is shown as
the limit.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import urllib3

from service.local.postgres import embedded_postgres
from service.local.processes import child, wait_until_ready
from service.migrate import migrate

PORT = 8766
KEY = "benchmrk.0123456789abcdef0123456789abcdef"
SCENARIOS = ((20_000, 0.0, 1), (20_000, 0.0, 8), (5_000, 0.1, 1), (20_000, 0.1, 8))


def import_calls(url: str, windows: int) -> float:
    """Run a pass over one job of everything; return its seconds, the start of the command included."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("truncate public.agencies cascade")
        conn.execute(
            """
            with agency as (insert into public.agencies (name) values ('Bench') returning id)
            insert into public.historical_sync_jobs (agency_id, date_to) select id, now() from agency
            """
        )
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "SUPABASE_JWT_SECRET": "benchmark-secret-" * 3,
        "ULTRAVOX_API_URL": f"http://127.0.0.1:{PORT}",
        "ULTRAVOX_API_KEY": KEY,
        "PROCESSOR_WINDOWS": str(windows),
        "ULTRAVOX_REQUESTS_PER_SECOND": "1000",
        "LOG_LEVEL": "error",
    }
    started = time.perf_counter()
    command = [str(Path(sys.executable).with_name("flask")), "--app", "wsgi", "process-historical-sync"]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    if '"completed"' not in output:
        sys.exit(f"the import did not complete: {output}")
    return time.perf_counter() - started


def time_of_pages(calls: int) -> float:
    """Return the seconds that fetching all pages takes when nothing is stored."""
    http, link = urllib3.PoolManager(), "/api/calls?sort=-created&pageSize=100"
    started = time.perf_counter()
    fetched = 0
    while link:
        page = http.request("GET", f"http://127.0.0.1:{PORT}{link}", headers={"X-API-Key": KEY}).json()
        fetched += len(page["results"])
        link = page["next"] and page["next"].removeprefix(f"http://127.0.0.1:{PORT}")
    if fetched != calls:
        sys.exit(f"the stand-in served {fetched} of {calls} calls")
    return time.perf_counter() - started


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, embedded_postgres(Path(folder) / "postgres") as server:
        migrate(server.get_uri())
        print(
            f"{'calls':>7} {'latency':>8} {'windows':>8} {'seconds':>8} {'calls/s':>8}  fetching alone, one by one: 1"
        )
        for calls, latency, windows in SCENARIOS:
            command = ["python", "-m", "service.local.standin", "--port", str(PORT), "--calls", str(calls)]
            with child(command, {"ULTRAVOX_API_KEY": KEY}) as standin:
                origin = f"http://127.0.0.1:{PORT}/_standin"
                wait_until_ready(f"{origin}/stats", standin)
                urllib3.PoolManager().request("POST", f"{origin}/faults", json={"latency_seconds": latency})
                alone, seconds = time_of_pages(calls), import_calls(server.get_uri(), windows)
            row = f"{calls:7} {latency * 1000:5.0f} ms {windows:8} {seconds:8.2f} {calls / seconds:8.0f}"
            print(f"{row}  {alone / seconds:4.2f}", flush=True)


if __name__ == "__main__":
    main()
