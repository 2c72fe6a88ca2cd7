"""Which windows are cut where there is no plan, so that more pages are in flight."""

from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Event, Thread

import pytest

from service.jobs.leases import Window
from service.processor.call_page import CallPage
from service.processor.window_queue import WindowQueue
from tests.support.waiting import wait_until

WINDOW = Window(1, None, datetime(2026, 3, 1, tzinfo=UTC), None)


class Queue(WindowQueue):
    """Its only window is taken, and another thread waits for one."""

    at_its_limit = False

    def __init__(self) -> None:
        self.stop = Event()
        super().__init__(threads=2, stopping=self.stop, is_at_its_limit=lambda: self.at_its_limit)
        self.put([WINDOW])
        assert self.take() == WINDOW
        self.idle = Thread(target=self.take)
        self.idle.start()
        wait_until(lambda: self._idle)


@pytest.fixture
def queue() -> Iterator[Queue]:
    queue = Queue()
    yield queue
    queue.stop.set()
    queue.idle.join()


def page(total: int | None) -> CallPage:
    return CallPage(["{}"] * 10, "cursor=c", total, 0.0)


@pytest.mark.parametrize(("total", "cut"), [(None, True), (21, True), (20, False), (0, False)])
def test_a_window_is_cut_for_a_thread_that_waits_if_enough_is_left_of_it(
    queue: Queue, total: int | None, cut: bool
) -> None:
    assert queue.wants_cut(WINDOW, page(total), 10) is cut


def test_no_window_is_cut_where_more_pages_in_flight_would_make_nothing_faster(queue: Queue) -> None:
    queue.at_its_limit = True
    assert not queue.wants_cut(WINDOW, page(21), 10)
