"""gunicorn reads this file by itself when it is started in the repository."""

from gevent import monkey

# First of all: the modules that this file imports live on in the workers, and keep what they take from the standard
# library now. What gunicorn's master looks after its workers with stays as it is.
monkey.patch_all(os=False, signal=False, queue=False)

import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

# Where the workers keep their counts for /metrics; prometheus-client looks when it is imported. A reload reads this
# file again and keeps the folder. The beginning of its name is service.web.counts_folder.PREFIX.
METRICS = os.environ.setdefault(
    "PROMETHEUS_MULTIPROC_DIR", f"{tempfile.gettempdir()}/historical-sync-counts-{secrets.token_hex(8)}"
)

from prometheus_client.multiprocess import mark_process_dead

from service.logs import configure_logs
from service.settings import SettingsError, load_settings
from service.web.counts_folder import make_and_hold, remove_abandoned

# A bad environment is refused once, here in the master, instead of with a traceback from every worker.
try:
    settings = load_settings()
except SettingsError as error:
    sys.exit(str(error))

bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
# A greenlet for each connection: a request waits for Postgres and hardly computes, and a client may be slow for as long
# as its deadlines allow. Two workers survive the loss of one.
worker_class = "service.web.worker.WebWorker"
workers = settings.web_workers
# Open ones at once in each, slow and idle ones included: with those to Postgres below the usual limit of 1024 files.
worker_connections = 768
# Each worker opens its own pool; it does not survive a fork.
preload_app = False
keepalive = 75  # longer than nginx keeps an idle upstream connection (60 s)
graceful_timeout = 20
# An access token with large app_metadata is longer than the default of 8190.
limit_request_field_size = 32 * 1024
# Nobody but the WSGI server says where the application is mounted.
forwarder_headers = ""
# A heartbeat file on a disk can block a worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # shared memory, not a disk
control_socket_disable = True


def when_ready(_server: object) -> None:
    """Make the folder once it is sure that there is something to count."""
    remove_abandoned()
    make_and_hold(Path(METRICS))


def child_exit(_server: object, worker: Any) -> None:
    """Take a dead worker's gauges out of the sum; its counters stay."""
    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_server: object) -> None:
    shutil.rmtree(METRICS, ignore_errors=True)


def on_starting(_server: object) -> None:
    """Send gunicorn's own messages the way of all others."""
    configure_logs(settings)


on_reload = on_starting
