"""The pages of a job that are fetched and not stored yet: who stores next, and whether more are to be asked for.

Each of them is held in memory, and asking for more brings nothing while those that are there wait.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.database import CONNECTIONS_PER_JOB

# So many wait for each one that is being stored: enough that none of the connections is ever idle.
WAITING_PER_CONNECTION = 4
LOOK_UP_SECONDS = 0.1


class Backlog:
    """Lets as many threads store at once as a job has connections, and the others ask for pages while few wait."""

    def __init__(self) -> None:
        self._connections = threading.Semaphore(CONNECTIONS_PER_JOB)
        self._changed = threading.Condition()
        self._waiting = 0

    @property
    def is_full(self) -> bool:
        return self._waiting >= WAITING_PER_CONNECTION * CONNECTIONS_PER_JOB

    def wait_for_room(self, stopped: Callable[[], bool]) -> None:
        """Return when another page may be asked for, or once `stopped`."""
        with self._changed:
            while self.is_full and not stopped():
                self._changed.wait(LOOK_UP_SECONDS)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a connection to store a page with."""
        with self._changed:
            self._waiting += 1
        with self._connections:
            with self._changed:
                self._waiting -= 1
                self._changed.notify()
            yield
