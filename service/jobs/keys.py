"""The agencies' own Ultravox API keys, which the database holds encrypted."""

from uuid import UUID

from service.database import Conn


def set_ultravox_key(conn: Conn, agency_id: UUID, key_encrypted: bytes) -> bool:
    """Store an agency's encrypted API key; False where there is no such agency."""
    [row] = conn.execute("select historical_sync.set_ultravox_key(%s, %s) as found", [agency_id, key_encrypted])
    return bool(row["found"])
