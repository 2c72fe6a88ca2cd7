"""Takes the pictures of the sync page, in mid-import: a stack of its own and Chromium. Run by `make pictures`."""

import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import urllib3

from service.local.demo import DEMO_APP, DEMO_PAGE_SIZE, demo_token
from service.local.demo_calls import demo_calls
from service.local.postgres import embedded_postgres
from service.local.processes import gunicorn, processor, wait_until_ready
from service.local.stack import DEMO_CALLS, prepare_database
from service.local.standin import Faults, StandinServer
from tests.clients.clients import chromium, require
from tests.support.serving import free_port

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "tests/clients/pictures.mjs"
KEY = "abcd1234.0123456789abcdef0123456789abcdef"
SECRET = "only-for-the-pictures-" * 3
# What has been imported before the sync that is shown, in days ago.
EARLIER = ((130, 90), (90, 55))


def main() -> None:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    calls = demo_calls(DEMO_CALLS, seed=7, until=midnight)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (
        tempfile.TemporaryDirectory(prefix="pg-") as folder,
        embedded_postgres(Path(folder) / "data") as server,
        StandinServer({KEY: calls}) as ultravox,
    ):
        environment = {
            **prepare_database(server),
            "SUPABASE_JWT_SECRET": SECRET,
            "ULTRAVOX_API_URL": ultravox.url,
            "ULTRAVOX_API_KEY": KEY,
            "SYNC_PAGE": "on",
            "LOG_LEVEL": "warning",
        }
        with gunicorn(port, environment, app=DEMO_APP) as web, processor(environment):
            wait_until_ready(f"{url}/readyz", web)
            for first, last in EARLIER:
                sync(url, midnight - timedelta(days=first), midnight - timedelta(days=last))
            ultravox.faults = Faults(max_page_size=DEMO_PAGE_SIZE, latency_seconds=1.2)
            pictures = ROOT / "docs/pictures"
            subprocess.run([require("node"), SCRIPT, chromium(), url, pictures], check=True)


def sync(url: str, date_from: datetime, date_to: datetime) -> None:
    """Import a range, to the end."""
    ask(url, "POST", "start-historical-sync", date_from=date_from.isoformat(), date_to=date_to.isoformat())
    while ask(url, "GET", "get-sync-status")["active"]:
        time.sleep(0.2)


def ask(url: str, method: str, name: str, **body: str) -> Any:
    headers = {"Authorization": f"Bearer {demo_token(SECRET)}"}
    return urllib3.request(method, f"{url}/functions/v1/{name}", headers=headers, json=body or None).json()


if __name__ == "__main__":
    main()
