"""What a monitoring system is told of all jobs, and what the processors add to it."""

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from service.database import Conn


def metrics(conn: Conn) -> list[DictRow]:
    """Return what the database knows for monitoring: rows of metric, label and value."""
    query = "select * from historical_sync.metrics() union all select * from historical_sync.source_metrics()"
    return conn.execute(query).fetchall()


def count_ultravox_requests(conn: Conn, counts: dict[int, int]) -> None:
    """Add requests by status to what all processors have counted."""
    conn.execute("select historical_sync.count_ultravox_requests(%s)", [Jsonb(counts)])
