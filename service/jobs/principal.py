"""Whom a request comes from."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class Principal:
    """The user that a verified token names, and the session it belongs to, if it names one."""

    user_id: UUID
    session_id: UUID | None
