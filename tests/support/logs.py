"""What is logged, as in production."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog

from service.logs import configure_logs
from service.settings import Settings


@contextmanager
def json_logs(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Log as in production; yields a function that reads what was logged."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    configure_logs(settings)
    # A logger that is kept would go on writing to what is captured here.
    structlog.configure(cache_logger_on_first_use=False)
    try:
        yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    finally:
        root.handlers[:], root.level = before
        structlog.reset_defaults()
