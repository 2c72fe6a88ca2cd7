"""The connection pool, and the one place where driver errors become ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from select import POLLIN, poll
from typing import Any

from psycopg import Connection, Error, OperationalError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from service.errors import ErrorCode, ServiceError
from service.settings import Settings

ONE_ACTIVE_JOB = "historical_sync_jobs_one_active_per_agency"
DATE_RANGE = "sync_jobs_date_range"
RETRY_AFTER_SECONDS = 5

# A dead peer or a silent network is noticed within about ten seconds; what the URL says itself wins.
CONNECTION_DEFAULTS: dict[str, str | int] = {
    "application_name": "historical-sync",
    "connect_timeout": 2,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

# Postgres is away: restarting, shutting down, crashed, out of connections, or a standby after a failover
# (PostgreSQL documentation, appendix A). Classes 08 and the bare OperationalError are added in `translate`.
UNAVAILABLE = {"57P01", "57P02", "57P03", "53300", "25006"}

Conn = Connection[DictRow]


class Database:
    """A pool of autocommit connections. It opens when it is first used: a pool does not survive a fork."""

    def __init__(self, settings: Settings) -> None:
        self._statement_timeout = f"{settings.database_statement_timeout * 1000:.0f}ms"
        url = settings.database_url.get_secret_value()
        self._pool: ConnectionPool[Conn] = ConnectionPool(
            make_conninfo(url, **_defaults_missing_from(url)),
            # Prepared statements do not survive a pooler in transaction mode.
            kwargs={"autocommit": True, "prepare_threshold": None, "row_factory": dict_row},
            min_size=1,
            max_size=settings.database_pool_size,
            timeout=settings.database_pool_timeout,
            # Give up soon: the next request then tries afresh instead of waiting out a long backoff.
            reconnect_timeout=settings.database_pool_timeout,
            configure=self._configure,
            check=check,
            open=False,
            name="service",
        )

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def connection(self) -> Iterator[Conn]:
        """Lend a connection.

        Raises ServiceError in place of every driver error.
        """
        try:
            self._pool.open()
            with self._pool.connection() as conn:
                yield conn
        except Error as error:
            raise translate(error) from error

    def _configure(self, conn: Conn) -> None:
        # In UTC the years 1 to 9999 come back as they went in; elsewhere the outermost days overflow.
        conn.execute("set timezone = 'UTC'")
        # Behind a pooler in transaction mode a session setting is not ours alone, so the role's own limit
        # (see the migrations) comes first and this is for other logins only.
        conn.execute(
            """
            select set_config('statement_timeout', %s, false)
            where current_setting('statement_timeout') = '0'
            """,
            [self._statement_timeout],
        )


def _defaults_missing_from(url: str) -> dict[str, str | int]:
    said = conninfo_to_dict(url)
    return {name: value for name, value in CONNECTION_DEFAULTS.items() if name not in said}


def check(conn: Connection[Any]) -> None:
    """Close the connection and raise OperationalError if the server has said something unasked.

    Asks the socket, not the server: a server that goes away says goodbye or hangs up, and a query here would double
    the round trips of every request. (`ConnectionPool.check_connection` sends one.)
    """
    poller = poll()
    poller.register(conn.fileno(), POLLIN)
    if poller.poll(0):
        conn.close()
        raise OperationalError("the server closed the connection")


def translate(error: Error) -> ServiceError:
    """Tell driver errors apart by SQLSTATE and constraint name.

    Prose is looked at once, where a database brings its own create_historical_sync_job(): it raises P0001.
    """
    state, constraint = error.sqlstate, error.diag.constraint_name
    reason = f"{type(error).__name__} {state or ''}: {error}"
    if state == "23505" and constraint == ONE_ACTIVE_JOB:
        return ServiceError(ErrorCode.SYNC_ALREADY_ACTIVE, reason=reason)
    if state == "P0001" and "already exists" in (error.diag.message_primary or ""):
        return ServiceError(ErrorCode.SYNC_ALREADY_ACTIVE, reason=reason)
    if state == "23514" and constraint == DATE_RANGE:
        return ServiceError(ErrorCode.INVALID_FIELDS, reason=reason, fields={"date_from": "must be before date_to"})
    if isinstance(error, PoolTimeout) or _is_unavailable(error):
        return ServiceError(ErrorCode.DATABASE_UNAVAILABLE, reason=reason, retry_after=RETRY_AFTER_SECONDS)
    return ServiceError(ErrorCode.INTERNAL_ERROR, reason=reason)


def _is_unavailable(error: Error) -> bool:
    if error.sqlstate is None:
        return isinstance(error, OperationalError)
    return error.sqlstate in UNAVAILABLE or error.sqlstate.startswith("08")
