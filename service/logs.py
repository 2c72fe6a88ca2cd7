"""Structured logs: JSON lines in production, readable ones on a terminal; structlog's and the standard library's."""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import Processor

from service.settings import Settings


def configure_logs(settings: Settings) -> None:
    """Send every log record of this process to standard error in one format."""
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    said: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[Processor] = (
        # Not the default of either: it shows a traceback's locals, and one of them can be a token.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    # Ours are written at once: a line for each request, by way of the standard library, costs as much as its answer.
    structlog.configure(
        processors=[*said, *renderer, _as_bytes],
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*said, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    # gunicorn brings a handler of its own.
    server = logging.getLogger("gunicorn.error")
    server.handlers.clear()
    server.propagate = True
    # Chatty on every preflight, and on every new connection.
    logging.getLogger("flask_cors").setLevel(logging.WARNING)
    logging.getLogger("psycopg.pool").setLevel(logging.WARNING)


def _as_bytes(_logger: object, _method: str, line: Any) -> bytes:
    return line.encode()  # type: ignore[no-any-return]  # what a renderer returns is a string
