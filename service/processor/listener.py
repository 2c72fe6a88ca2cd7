"""Hears of jobs the moment that they become pending, by LISTEN and NOTIFY."""

import time
from collections.abc import Callable

import psycopg
import structlog
from pydantic import SecretStr

from service.database import conninfo_with_defaults

CHANNEL = "historical_sync_pending"  # of historical_sync.notify_pending()
LISTEN_AGAIN_SECONDS = 5.0

log = structlog.get_logger(__name__)


def listen(url: SecretStr, on_pending: Callable[[], None]) -> None:
    """Call `on_pending` when a job becomes pending, for ever.

    Polling is the safety net: a pooler in transaction mode passes nothing on.
    """
    while True:
        try:
            listen_until_cut_off(url, on_pending)
        except psycopg.Error as error:
            log.warning("listen_failed", cause=str(error))
        time.sleep(LISTEN_AGAIN_SECONDS)


def listen_until_cut_off(url: SecretStr, on_pending: Callable[[], None]) -> None:
    """Call `on_pending` at first, for what has become pending before, and then whenever a job does.

    Raises psycopg.Error when the connection is lost, or cannot be had within the connect timeout.
    """
    with psycopg.connect(conninfo_with_defaults(url), autocommit=True) as conn:
        conn.execute(f"listen {CHANNEL}")
        on_pending()
        for _ in conn.notifies():
            on_pending()
