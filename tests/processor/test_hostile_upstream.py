"""A processor beside an API that never ends its answers, and with stored keys that are no keys."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.fernet import Fernet

from tests.support.database import Sql, add_agency
from tests.support.processing import CREDENTIALS_KEY, Processors, add_job, agency_with_key, job, status
from tests.support.raw_api import DRIPS, Api
from tests.support.waiting import wait_until

DRIPPING = "the-key-of-an-agency-whose-answers-drip"


@pytest.fixture
def processors(database_url: str, tmp_path: Path) -> Iterator[Processors]:
    with closing(Processors(database_url, tmp_path)) as processors:
        yield processors


def test_a_cancelled_job_whose_answers_never_end_gives_its_slot_to_another_agencys(
    processors: Processors, sql: Sql
) -> None:
    agency_id = agency_with_key(sql, DRIPPING)
    dripping = add_job(sql, agency_id)
    with Api() as api:
        api.says_to[DRIPPING] = DRIPS["a trailer"]
        environment = {
            "CREDENTIALS_KEY": CREDENTIALS_KEY,
            "ULTRAVOX_API_URL": api.url,
            "ULTRAVOX_TIMEOUT": "0.3",
            "PROCESSOR_JOBS": "1",
            "LEASE_SECONDS": "3",
        }
        watch = processors.start(None, "--watch", **environment)
        wait_until(lambda: api.paths)
        waiting = add_job(sql, add_agency(sql))
        sql.execute("select * from historical_sync.cancel_job(%s, %s)", [agency_id, dripping])
        wait_until(lambda: status(sql, waiting) == "completed")
        assert watch.stop() == 0

    assert status(sql, dripping) == "cancelled"
    assert DRIPPING not in watch.stdout + watch.stderr


STORED = {
    "not UTF-8": Fernet(CREDENTIALS_KEY).encrypt(b"\xff\xfe"),
    "made with another key": Fernet(Fernet.generate_key()).encrypt(b"key"),
    "not encrypted": b"abcd1234.0123456789abcdef",
    "any bytes": bytes(range(256)),
    "nothing": b"",
}
ODD = {
    "a newline": Fernet(CREDENTIALS_KEY).encrypt(b"key\r\nX-Odd: x"),
    "non-ASCII": Fernet(CREDENTIALS_KEY).encrypt("schlüssel".encode()),
    "a NUL": Fernet(CREDENTIALS_KEY).encrypt(b"key\0"),
}


def add_job_with_stored(sql: Sql, stored: bytes) -> UUID:
    agency_id = add_agency(sql)
    sql.execute("update public.agencies set ultravox_api_key_encrypted = %s where id = %s", [stored, agency_id])
    return add_job(sql, agency_id)


def test_a_stored_key_that_is_none_fails_its_job_at_once_with_a_sentence_to_act_on(
    processors: Processors, sql: Sql
) -> None:
    unreadable = [add_job_with_stored(sql, stored) for stored in STORED.values()]
    odd = [add_job_with_stored(sql, stored) for stored in ODD.values()]
    with Api() as api:
        passed = processors.run(None, CREDENTIALS_KEY=CREDENTIALS_KEY, ULTRAVOX_API_URL=api.url)

    assert api.paths == []
    assert "Traceback" not in passed.stderr
    for job_id in unreadable:
        row = job(sql, job_id)
        assert (row["status"], row["attempt"]) == ("failed", 1)
        assert row["error_message"] == (
            "The agency's API key cannot be read. Ask support to set it again, then resume."
        )
    for job_id in odd:
        row = job(sql, job_id)
        assert (row["status"], row["attempt"]) == ("failed", 1)
        assert "API key has characters that no key has" in row["error_message"]
