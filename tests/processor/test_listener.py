"""Hearing of jobs the moment that they become pending, over one connection that notices when it is dead."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from pydantic import SecretStr

from service.processor.listener import listen_until_cut_off
from service.settings import Settings
from tests.support.database import Sql, add_agency
from tests.support.processing import add_job
from tests.support.raw_api import in_time
from tests.support.waiting import LAST_RESORT_SECONDS


def test_a_pending_job_is_heard_of_until_the_connection_is_cut(
    sql: Sql, make_settings: Callable[..., Settings]
) -> None:
    heard = threading.Semaphore(0)
    listening = "from pg_stat_activity where query = 'listen historical_sync_pending' and datname = current_database()"
    with ThreadPoolExecutor(1) as thread:
        listener = thread.submit(listen_until_cut_off, make_settings().processor_url(), heard.release)
        try:
            assert heard.acquire(timeout=LAST_RESORT_SECONDS), "what was pending before is looked for"
            add_job(sql, add_agency(sql))
            assert heard.acquire(timeout=LAST_RESORT_SECONDS)
            # It has the connection parameters of the pool's, those that notice a dead peer among them.
            assert sql.execute(f"select application_name {listening}").fetchall() == [
                {"application_name": "historical-sync"}
            ]
        finally:
            sql.execute(f"select pg_terminate_backend(pid) {listening}")
        assert isinstance(listener.exception(LAST_RESORT_SECONDS), psycopg.OperationalError)


def test_a_server_that_says_nothing_is_given_up_within_the_connect_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = SecretStr(f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none")
        with pytest.raises(psycopg.OperationalError, match="timeout"):
            in_time(lambda: listen_until_cut_off(url, lambda: None))
