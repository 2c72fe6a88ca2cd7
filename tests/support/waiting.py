"""How tests wait: for what they name, never for luck, and for as long as a machine that is busy otherwise may need."""

import time
from collections.abc import Callable

import pytest

# Nothing takes so long, unless it never comes.
LAST_RESORT_SECONDS = 120


def wait_until(condition: Callable[[], object]) -> None:
    """Return once it holds. Fails the test where it does not within LAST_RESORT_SECONDS."""
    deadline = time.monotonic() + LAST_RESORT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("what the test waits for did not happen")
        time.sleep(0.01)
