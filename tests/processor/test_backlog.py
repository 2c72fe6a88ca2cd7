"""How many pages of a job are asked for and stored at once."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Event, Thread

import pytest

from service.database import CONNECTIONS_PER_JOB
from service.processor import backlog as backlogs
from service.processor.backlog import LONG_BACKLOG, Backlog
from tests.support.waiting import wait_until


class Storing:
    """Threads that store a page each, once the connections that others hold are free."""

    def __init__(self) -> None:
        self.backlog = Backlog()
        self.stored: list[int] = []
        self.threads: list[Thread] = []

    @contextmanager
    def all_connections_busy(self) -> Iterator[None]:
        with ExitStack() as connections:
            for _ in range(CONNECTIONS_PER_JOB):
                connections.enter_context(self.backlog.turn([]))
            yield

    def start(self, pages: int, calls: list[str]) -> None:
        self.threads = [Thread(target=self._store, args=(calls,)) for _ in range(pages)]
        for thread in self.threads:
            thread.start()

    def _store(self, calls: list[str]) -> None:
        with self.backlog.turn(calls):
            self.stored.append(1)


@pytest.fixture
def storing() -> Iterator[Storing]:
    storing = Storing()
    yield storing
    for thread in storing.threads:
        thread.join()


def test_no_more_threads_store_at_once_than_a_job_has_connections(storing: Storing) -> None:
    with storing.all_connections_busy():
        storing.start(LONG_BACKLOG, ["{}"])
        wait_until(lambda: storing.backlog.is_long)
        assert storing.stored == []
    wait_until(lambda: len(storing.stored) == LONG_BACKLOG)
    assert not storing.backlog.is_long


def test_no_page_is_asked_for_while_many_bytes_wait_to_be_stored(
    storing: Storing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlogs, "MOST_BYTES", LONG_BACKLOG * len("{}"))
    asked = Event()

    def ask() -> None:
        storing.backlog.wait_for_room(lambda: False)
        asked.set()

    with storing.all_connections_busy():
        storing.start(LONG_BACKLOG, ["{}"])
        wait_until(lambda: storing.backlog.is_long)
        storing.threads.append(Thread(target=ask))
        storing.threads[-1].start()
        assert not asked.wait(0.3)
        storing.backlog.wait_for_room(lambda: True)  # who is to stop waits no longer
    wait_until(asked.is_set)
