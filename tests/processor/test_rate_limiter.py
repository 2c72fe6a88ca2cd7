"""The pace of an API key."""

import pytest

from service.processor.rate_limiter import RateLimiter


def test_a_rate_limiter_spaces_its_slots_and_a_pause_puts_them_off() -> None:
    limiter = RateLimiter(0.5)
    assert not limiter.is_exhausted
    assert [limiter.reserve() for _ in range(3)] == pytest.approx([0, 2, 4], abs=1)
    assert limiter.is_exhausted
    limiter.pause(60)
    limiter.pause(1)
    assert [limiter.reserve(), limiter.reserve()] == pytest.approx([60, 62], abs=1)
