"""gunicorn reads this file by itself when it is started in the repository."""

import os
import sys
from pathlib import Path
from typing import Any

from service.logs import configure_logs
from service.settings import SettingsError, load_settings

bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"
# Threads: a request waits for Postgres and hardly computes. Two workers survive the loss of one.
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = int(os.environ.get("WEB_THREADS", "8"))
# Each worker opens its own pool and its own threads; neither survives a fork.
preload_app = False
keepalive = 75  # longer than nginx keeps an idle upstream connection (60 s)
timeout = 30
graceful_timeout = 20
limit_request_line = 4094
limit_request_field_size = 8190
# A heartbeat file on a disk can block a worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # shared memory, not a disk
# The service logs each request itself.
accesslog = None
control_socket_disable = True


def on_starting(_server: Any) -> None:
    """Refuse a bad environment once, in the master, instead of with a traceback from every worker."""
    try:
        configure_logs(load_settings())
    except SettingsError as error:
        sys.exit(str(error))
