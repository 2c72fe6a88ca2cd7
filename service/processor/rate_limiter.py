"""How fast an API key may ask: so many requests per second, and the pauses that the API wants."""

import threading
import time

# Threads that ask at the same moment wait a little although each finds its slot soon.
EXHAUSTED_SECONDS = 0.05


class RateLimiter:
    """Spaces the requests of one API key, over all its threads in this process."""

    def __init__(self, requests_per_second: float) -> None:
        self._interval = 1 / requests_per_second
        self._next_at = 0.0
        self._paused_until = 0.0
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Take the next free slot and return how many seconds it is away."""
        with self._lock:
            now = time.monotonic()
            slot = max(now, self._next_at)
            self._next_at = slot + self._interval
            return slot - now

    @property
    def is_exhausted(self) -> bool:
        """Tell whether requests wait for their slots: more threads would make no more requests."""
        return self._next_at - time.monotonic() > EXHAUSTED_SECONDS

    def pause(self, seconds: float) -> None:
        """Put the next slot off: the API has asked for it."""
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)
            self._next_at = max(self._next_at, self._paused_until)

    def paused(self) -> float:
        """Return how many seconds of a pause are left."""
        return max(0.0, self._paused_until - time.monotonic())
