"""Keeps the lease of a job alive while its threads work."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog

from service.database import Database
from service.errors import DatabaseError, LeaseLostError
from service.jobs import leases
from service.jobs.leases import Claim

log = structlog.get_logger(__name__)


@contextmanager
def heartbeat(
    database: Database, claim: Claim, lease: timedelta, on_lost: Callable[[LeaseLostError], None]
) -> Iterator[None]:
    """Renew the lease every third of its time, from a thread of its own, until the block ends."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(lease.total_seconds() / 3):
            try:
                with database.connection() as conn:
                    leases.heartbeat(conn, claim, lease)
            except LeaseLostError as error:
                on_lost(error)
            except DatabaseError as error:
                log.warning("heartbeat_failed", job_id=str(claim.job_id), cause=str(error))

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
