"""The pages of a job that are fetched and not stored yet: who stores next, and whether there is room for more.

All of them are held in memory. Their bytes are what is limited, and not their number: a page that is asked for late
comes a request's time later, and meanwhile the ones that wait keep the database at work.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.database import CONNECTIONS_PER_JOB
from service.exchange import MIB

# Pages of usual calls stay far below.
MOST_BYTES = 32 * MIB
# So many pages wait for each that is being stored, where storing is what an import waits for.
LONG_BACKLOG = 4 * CONNECTIONS_PER_JOB
LOOK_UP_SECONDS = 0.1


class Backlog:
    """Lets as many threads store at once as a job has connections, and none ask for a page while many bytes wait."""

    def __init__(self) -> None:
        self._connections = threading.Semaphore(CONNECTIONS_PER_JOB)
        self._changed = threading.Condition()
        self._pages = 0
        self._bytes = 0

    @property
    def is_long(self) -> bool:
        """Tell whether storing is behind: pages that come sooner would only wait."""
        return self._pages >= LONG_BACKLOG

    def wait_for_room(self, stopped: Callable[[], bool]) -> None:
        """Return when another page may be asked for, or once `stopped`."""
        with self._changed:
            while self._bytes >= MOST_BYTES and not stopped():
                self._changed.wait(LOOK_UP_SECONDS)

    @contextmanager
    def turn(self, calls: list[str]) -> Iterator[None]:
        """Wait for a connection to store these calls with."""
        size = sum(map(len, calls))
        with self._changed:
            self._pages += 1
            self._bytes += size
        with self._connections:
            with self._changed:
                self._pages -= 1
                self._bytes -= size
                self._changed.notify()
            yield
