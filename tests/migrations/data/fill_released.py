# mypy: ignore-errors
# ruff: noqa: I001
"""Run by make_released.py in a checkout of the released version, with its modules: puts rows as it would have them."""

import os
from uuid import UUID

import psycopg
from cryptography.fernet import Fernet
from psycopg.rows import dict_row
from pydantic import SecretStr

from service.jobs import leases
from service.paging import Pager
from service.settings import Settings
from service.processor.ultravox import Pace, UltravoxClient
from tests.support.importing import FROM, KEY, TO, calls, importing
from tests.support.processing import LEASE

# As tests/released.py has them.
CREDENTIALS_KEY = b"cmVsZWFzZWQtcmVsZWFzZWQtcmVsZWFzZWQtcmVsZWE="
FINISHED, CANCELLED, INFINITE, PREHISTORIC, IN_MID_IMPORT = (UUID(int=number) for number in range(1, 6))
USER = UUID(int=11)


class Filling:
    """An agency that imports forty calls, three a page."""

    def __init__(self, sql, settings, agency_id, name):
        self.sql, self.agency_id = sql, agency_id
        sql.execute("insert into public.agencies (id, name) values (%s, %s)", [agency_id, name])
        self._importing = importing(sql, agency_id, settings)

    def __enter__(self):
        self.job = self._importing.__enter__()
        self.job.put(*calls(40))
        return self

    def __exit__(self, *exception):
        return self._importing.__exit__(*exception)

    def claim(self):
        self.sql.execute("select historical_sync.create_job(%s, %s, %s, %s)", [self.agency_id, USER, FROM, TO])
        with self.job.database.connection() as conn:
            claim = leases.claim(conn, LEASE)
        assert claim.agency_id == self.agency_id
        return claim

    def split(self, claim, window):
        with self.job.database.connection() as conn:
            return leases.split_window(conn, claim, window.id)

    def pages(self, claim, window):
        client = UltravoxClient(self.job.server.url, timeout=5, connections=1)
        pager = Pager(self.job.database, client, Pace(1000), claim, SecretStr(KEY), LEASE, lambda: False)
        yield from pager.pages(window)


def finished(sql, settings):
    with Filling(sql, settings, FINISHED, "Finished") as filling:
        claim = filling.claim()
        list(filling.job.pages(claim))
        with filling.job.database.connection() as conn:
            leases.complete(conn, claim)
            claim = filling.claim()
            leases.fail(conn, claim, "Ultravox refused the API key.")
    # As a processor with a fast clock has stored it.
    sql.execute("update calls set fetched_at = '2999-01-01' where ultravox_call_id = 'call-000'")


def cancelled(sql, settings):
    with Filling(sql, settings, CANCELLED, "Cancelled half-way") as filling:
        claim = filling.claim()
        [window] = filling.job.windows(claim)
        pages = filling.pages(claim, window)
        next(pages)
        next(pages)
        filling.split(claim, window)
        sql.execute("select historical_sync.cancel_job(%s, %s)", [CANCELLED, claim.job_id])


def impossible(sql):
    for agency_id, name in ((INFINITE, "Infinite"), (PREHISTORIC, "Prehistoric")):
        sql.execute("insert into public.agencies (id, name) values (%s, %s)", [agency_id, name])
    sql.execute("select historical_sync.create_job(%s, null, null, 'infinity')", [INFINITE])
    sql.execute("select historical_sync.create_job(%s, null, '0044-03-15 BC', '2026-03-01')", [PREHISTORIC])
    sql.execute(
        "update historical_sync_jobs set status = 'in_progress', lease_expires_at = now() where agency_id = %s",
        [PREHISTORIC],
    )


def in_mid_import(sql, settings):
    """Three windows: the newest and the middle one at a cursor, the oldest finished."""
    sql.execute("update historical_sync_jobs set next_attempt_at = 'infinity' where agency_id = %s", [INFINITE])
    sql.execute(
        "update historical_sync_jobs set lease_expires_at = now() + interval '1 hour' where agency_id = %s",
        [PREHISTORIC],
    )
    with Filling(sql, settings, IN_MID_IMPORT, "In mid-import") as filling:
        sql.execute("insert into public.users (id, agency_id, role) values (%s, %s, 'owner')", [USER, IN_MID_IMPORT])
        key = Fernet(CREDENTIALS_KEY).encrypt(KEY.encode())
        sql.execute("select historical_sync.set_ultravox_key(%s, %s)", [IN_MID_IMPORT, key])
        claim = filling.claim()
        [newest] = filling.job.windows(claim)
        next(filling.pages(claim, newest))
        middle = filling.split(claim, newest)
        oldest = filling.split(claim, middle)
        list(filling.pages(claim, oldest))
        for window in filling.job.windows(claim):
            next(filling.pages(claim, window))
    sql.execute("update historical_sync_jobs set lease_expires_at = now() where status = 'in_progress'")
    sql.execute("update historical_sync_jobs set next_attempt_at = null where agency_id = %s", [INFINITE])
    sql.execute('select historical_sync.count_ultravox_requests(\'{"200": 30, "429": 2}\')')


def main():
    settings = Settings(database_url=os.environ["DATABASE_URL"], supabase_jwt_secret="s" * 32)
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, row_factory=dict_row) as sql:
        finished(sql, settings)
        cancelled(sql, settings)
        impossible(sql)
        in_mid_import(sql, settings)


if __name__ == "__main__":
    main()
