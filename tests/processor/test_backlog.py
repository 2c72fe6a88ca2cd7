"""How many pages of a job are asked for and stored at once."""

from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event, Thread

import pytest

from service.database import CONNECTIONS_PER_JOB
from service.processor.backlog import WAITING_PER_CONNECTION, Backlog
from tests.support.waiting import wait_until


@pytest.fixture
def threads() -> Iterator[list[Thread]]:
    threads: list[Thread] = []
    yield threads
    for thread in threads:
        thread.join()


def started(threads: list[Thread], target: object) -> None:
    threads.append(Thread(target=target))  # type: ignore[arg-type]
    threads[-1].start()


def test_no_more_threads_store_at_once_than_a_job_has_connections(threads: list[Thread]) -> None:
    backlog, stored = Backlog(), []

    def store() -> None:
        with backlog.turn():
            stored.append(1)

    with ExitStack() as connections:
        for _ in range(CONNECTIONS_PER_JOB):
            connections.enter_context(backlog.turn())
        for _ in range(WAITING_PER_CONNECTION * CONNECTIONS_PER_JOB):
            started(threads, store)
        wait_until(lambda: backlog.is_full)
        assert stored == []
    wait_until(lambda: len(stored) == len(threads))
    assert not backlog.is_full


def test_no_page_is_asked_for_while_many_wait_to_be_stored(threads: list[Thread]) -> None:
    backlog, asked, stop = Backlog(), [], Event()

    def ask() -> None:
        backlog.wait_for_room(lambda: False)
        asked.append(backlog.is_full)

    def store() -> None:
        with backlog.turn():
            pass

    with ExitStack() as connections:
        for _ in range(CONNECTIONS_PER_JOB):
            connections.enter_context(backlog.turn())
        for _ in range(WAITING_PER_CONNECTION * CONNECTIONS_PER_JOB):
            started(threads, store)
        wait_until(lambda: backlog.is_full)
        started(threads, ask)
        stop.set()
        backlog.wait_for_room(stop.is_set)  # who is to stop waits no longer
        assert asked == []
    wait_until(lambda: asked == [False])
