"""The connection pool, and the one place where driver errors become ours."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

import structlog
from psycopg import Connection, Error, OperationalError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from service.errors import (
    DatabaseBusyError,
    DatabaseError,
    DatabaseForbiddenError,
    DatabaseUnavailableError,
    DataRefusedError,
    InvalidDateRangeError,
    JobConflictError,
    LeaseLostError,
    NotMigratedError,
)
from service.settings import Settings

LEASE_LOST = "HS001"  # raised by historical_sync.hold_lease()
WATCH_SECONDS = 0.5
# Executions of a statement on a connection, after which it is prepared there, in a round trip of its own: psycopg's
# default.
PREPARE_AFTER = 5
# The windows of a job take turns at its row; more connections would only wait there.
CONNECTIONS_PER_JOB = 4
PROCESSOR_STATEMENT_SECONDS = 30.0

# A dead peer or a silent network is noticed within about ten seconds; what the URL says itself wins.
CONNECTION_DEFAULTS: dict[str, str | int] = {
    "application_name": "historical-sync",
    "connect_timeout": 2,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


class Meaning(NamedTuple):
    """What a driver error of this SQLSTATE means, where the constraint, table or words are these as well."""

    # Five characters, or the two of a whole class (PostgreSQL documentation, appendix A).
    sqlstate: str
    error: type[DatabaseError]
    constraint: str | None = None
    table: str | None = None
    words: str | None = None

    def fits(self, error: Error) -> bool:
        said = error.diag
        return (
            (error.sqlstate or "").startswith(self.sqlstate)
            and self.constraint in (None, said.constraint_name)
            and self.table in (None, said.table_name)
            and (self.words is None or self.words in (said.message_primary or ""))
        )


# The first line that fits decides; what fits none is a DatabaseError.
MEANINGS = (
    Meaning("23505", JobConflictError, constraint="historical_sync_jobs_one_active_per_agency"),
    # An original table can have an index of its own for this; whether a job is in the way is asked next.
    Meaning("23505", JobConflictError, table="historical_sync_jobs"),
    # A database that brings its own create_historical_sync_job() tells the same in prose, and in nothing else.
    Meaning("P0001", JobConflictError, words="already exists"),
    Meaning("23514", InvalidDateRangeError, constraint="sync_jobs_date_range"),
    Meaning("22", DataRefusedError),
    Meaning("42501", DatabaseForbiddenError),
    Meaning("42883", NotMigratedError),  # no such function
    Meaning("3F000", NotMigratedError),  # no such schema
    Meaning("08", DatabaseUnavailableError),  # the connection broke
    Meaning("57P01", DatabaseUnavailableError),  # shutting down
    Meaning("57P02", DatabaseUnavailableError),  # crashed
    Meaning("57P03", DatabaseUnavailableError),  # starting up
    Meaning("53300", DatabaseUnavailableError),  # out of connections
    Meaning("25006", DatabaseUnavailableError),  # a standby, after a failover
    Meaning("55P03", DatabaseBusyError),  # a lock was not had within lock_timeout
    Meaning("57014", DatabaseBusyError),  # a statement ran into its timeout, or was cancelled
    Meaning("40P01", DatabaseBusyError),  # a deadlock
    Meaning("40001", DatabaseBusyError),  # a serialization failure
)

Conn = Connection[DictRow]
T = TypeVar("T")

log = structlog.get_logger(__name__)


class Database:
    """A pool of autocommit connections. It opens when it is first used: a pool does not survive a fork."""

    def __init__(self, url: SecretStr, *, size: int, pool_timeout: float, statement_timeout: float) -> None:
        self._statement_timeout = f"{statement_timeout * 1000:.0f}ms"
        # Well beyond its timeout a statement is not slow: the server or the network has frozen, and only this side
        # can tell.
        self._patience = statement_timeout + pool_timeout
        self._lent: dict[Conn, float] = {}
        self._watching = threading.Lock()
        self._pool: ConnectionPool[Conn] = ConnectionPool(
            conninfo_with_defaults(url),
            kwargs={"autocommit": True, "prepare_threshold": None, "row_factory": dict_row},
            min_size=1,
            max_size=size,
            timeout=pool_timeout,
            # Give up soon: the next request then tries afresh instead of waiting out a long backoff.
            reconnect_timeout=pool_timeout,
            configure=self._configure,
            open=False,
        )

    @classmethod
    def of_service(cls, settings: Settings) -> "Database":
        """Return the web service's."""
        return cls(
            settings.service_url(),
            size=settings.database_pool_size,
            pool_timeout=settings.database_pool_timeout,
            statement_timeout=settings.database_statement_timeout,
        )

    @classmethod
    def of_processor(cls, settings: Settings) -> "Database":
        """Return a processor's: nobody waits for an answer, and a page is more work than a job."""
        return cls(
            settings.processor_url(),
            size=settings.processor_jobs * CONNECTIONS_PER_JOB,
            pool_timeout=settings.database_pool_timeout,
            statement_timeout=PROCESSOR_STATEMENT_SECONDS,
        )

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def connection(self) -> Iterator[Conn]:
        """Lend a connection.

        Raises DatabaseError (one of its subclasses where the cause is known) or LeaseLostError in place of every
        driver error.
        """
        try:
            conn = self._healthy_connection()
            self._lent[conn] = time.monotonic() + self._patience
            try:
                yield conn
            finally:
                del self._lent[conn]
                self._pool.putconn(conn)
        except Error as error:
            raise translate(error) from error

    def run_through_outages(self, statement: Callable[[Conn], T], *, seconds: float) -> T:
        """Run a statement that may be repeated, while the database is away or busy, for so many seconds.

        Raises DatabaseError or LeaseLostError.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                with self.connection() as conn:
                    return statement(conn)
            except (DatabaseUnavailableError, DatabaseBusyError) as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("statement_repeated", cause=str(error))
                time.sleep(WATCH_SECONDS)

    def count_connections(self) -> dict[str, int]:
        """Return how many connections are open and idle, and how many requests wait for one."""
        stats = self._pool.get_stats()
        names = {"open": "pool_size", "idle": "pool_available", "waiting": "requests_waiting"}
        return {state: stats.get(name, 0) for state, name in names.items()}

    def _open(self) -> None:
        if not self._pool.closed:
            return
        self._pool.open()
        if self._watching.acquire(blocking=False):
            threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._pool.closed:
            now = time.monotonic()
            for conn, deadline in list(self._lent.items()):
                if now > deadline:
                    hang_up(conn)
            time.sleep(WATCH_SECONDS)

    def _healthy_connection(self) -> Conn:
        # The pool's own `check` waits a second after each dead connection, and a restart leaves several.
        self._open()
        deadline = time.monotonic() + self._pool.timeout
        while True:
            conn = self._pool.getconn(timeout=max(0.0, deadline - time.monotonic()))
            if not has_hung_up(conn):
                return conn
            conn.close()
            self._pool.putconn(conn)

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
        # Half of what a statement may take, so that who waits for a lock is told of the lock, and in time.
        conn.execute(
            """
            select set_config('lock_timeout', (setting::integer / 2)::text, false)
            from pg_settings
            where name = 'statement_timeout' and current_setting('lock_timeout') = '0'
            """
        )
        if is_of_one_server_process(conn):
            conn.prepare_threshold = PREPARE_AFTER


def conninfo_with_defaults(url: SecretStr) -> str:
    """Return the connection string of a URL with CONNECTION_DEFAULTS for all that it does not say itself."""
    said = conninfo_to_dict(url.get_secret_value())
    missing = {name: value for name, value in CONNECTION_DEFAULTS.items() if name not in said}
    return make_conninfo(url.get_secret_value(), **missing)


def hang_up(conn: Connection[Any]) -> None:
    """Shut the socket of a connection in another thread's hands: that thread gets an OperationalError."""
    with suppress(OSError, OperationalError), socket.socket(fileno=os.dup(conn.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)


def has_hung_up(conn: Connection[Any]) -> bool:
    """Tell whether the server has gone away since this connection was last used.

    Reads what has arrived, and asks the server nothing: a query would double the round trips of every request.
    """
    try:
        conn.pgconn.consume_input()  # its goodbye, if it has said one
        conn.pgconn.consume_input()  # and the end of the connection after that
    except OperationalError:
        return True
    return False


def is_of_one_server_process(conn: Connection[Any]) -> bool:
    """Tell whether all statements of a connection meet the same server process, so that they can be prepared.

    A pooler in transaction mode hands each of them to another one. It gives itself away: the process that answers is
    not the one that it has announced (BackendKeyData in the PostgreSQL documentation, section 54.7).
    """
    row = conn.execute("select pg_backend_pid() as pid").fetchone()
    return row is not None and row["pid"] == conn.info.backend_pid


def translate(error: Error) -> DatabaseError | LeaseLostError:
    """Return what a driver error means to us, told by SQLSTATE and by the names of constraint and table."""
    if error.sqlstate == LEASE_LOST:
        job = json.loads(error.diag.message_detail or "{}")
        return LeaseLostError(job["status"], job["imported"], job["skipped"], job["failed"])
    message = f"{type(error).__name__} {error.sqlstate or ''}: {error}"
    if isinstance(error, OperationalError) and error.sqlstate is None:
        # The connection was lost, or none was had in time: there was no server to give a SQLSTATE.
        return DatabaseUnavailableError(message)
    meaning = next((each.error for each in MEANINGS if each.fits(error)), DatabaseError)
    return meaning(message)
