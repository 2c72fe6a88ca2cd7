"""What the stand-in answers a request."""

import json
from typing import Literal, NamedTuple


class Answer(NamedTuple):
    status: int
    body: bytes
    retry_after: str | None = None
    cut: Literal["half_body", "drop"] | None = None
    calls: int = 0  # how many calls the page holds


class RefusedError(Exception):
    """The request gets this status and JSON instead of its page."""


def to_json(value: object) -> bytes:
    """ASCII only, so that NUL and lone surrogates travel as escapes."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")
