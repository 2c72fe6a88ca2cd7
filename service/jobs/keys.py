"""The agencies' own Ultravox API keys, which the database holds encrypted."""

from dataclasses import dataclass, field
from uuid import UUID

from psycopg.rows import class_row

from service.database import Conn


@dataclass(frozen=True)
class StoredKey:
    """An agency's encrypted API key."""

    agency_id: UUID
    key_encrypted: bytes = field(repr=False)


def set_ultravox_key(conn: Conn, agency_id: UUID, key_encrypted: bytes) -> bool:
    """Store an agency's encrypted API key; False where there is no such agency."""
    [row] = conn.execute("select historical_sync.set_ultravox_key(%s, %s) as found", [agency_id, key_encrypted])
    return bool(row["found"])


def stored_ultravox_keys(conn: Conn) -> list[StoredKey]:
    with conn.cursor(row_factory=class_row(StoredKey)) as cursor:
        return cursor.execute("select * from historical_sync.stored_ultravox_keys()").fetchall()


def replace_ultravox_key(conn: Conn, stored: StoredKey, key_encrypted: bytes) -> bool:
    """Store an agency's API key encrypted anew; False where it is another one by now, or none, which stays so."""
    arguments = [stored.agency_id, stored.key_encrypted, key_encrypted]
    [row] = conn.execute("select historical_sync.replace_ultravox_key(%s, %s, %s) as replaced", arguments)
    return bool(row["replaced"])
