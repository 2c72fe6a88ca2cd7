"""Calls that could not be stored: kept with the reason, tried again, and cleared once they are stored."""

from typing import Any

import pytest

from service.jobs import leases
from service.local.standin import Fault
from service.processor.errors import JobFailedError
from tests.support.importing import FROM, Import, call_at, calls
from tests.support.processing import LEASE

UNSTORABLE = {"billedDuration": f"{'9' * 140_000}s"}  # a number beyond the limits of Postgres
REASON = "The call holds a value that cannot be stored."


def failures(job: Import) -> list[dict[str, Any]]:
    [row] = job.sql.execute("select historical_sync.job_failures(%s) as failures", [job.job_id]).fetchall()
    return list(row["failures"])


def fail_midway(job: Import) -> None:
    """A job of four pages brings a call that cannot be stored, and its key is refused at the last page."""
    job.put(*calls(10), call_at(FROM, "bad", **UNSTORABLE))
    job.put(call_at(FROM + LEASE * 7, "call-007", **UNSTORABLE))
    job.server.faults.queue = [Fault("status", 401, after=3)]
    with pytest.raises(JobFailedError):
        job.complete()


def resume(job: Import) -> None:
    job.sql.execute("update historical_sync_jobs set status = 'failed', completed_at = now(), lease_expires_at = null")
    job.sql.execute("select historical_sync.resume_job(%s, %s)", [job.agency_id, job.job_id])
    with job.database.connection() as conn:
        claim = leases.claim(conn, LEASE)
    assert claim
    job.complete(claim)


def test_a_call_that_cannot_be_stored_is_kept_with_the_reason_after_the_end_of_its_job(job: Import) -> None:
    job.put(*calls(4), call_at(FROM, "bad", **UNSTORABLE), {"callId": "undated", "created": "20260301T000330"})
    job.complete()
    assert failures(job) == [
        {"call_id": "bad", "reason": REASON},
        {"call_id": "undated", "reason": "The call does not say when it was created."},
    ]
    assert job.counts() == (6, 4, 0, 2)


def test_a_resume_tries_them_again_and_clears_those_that_went_well(job: Import) -> None:
    fail_midway(job)
    assert (job.counts(), [each["call_id"] for each in failures(job)]) == ((9, 8, 0, 1), ["call-007"])
    job.put(call_at(FROM + LEASE * 7, "call-007"))
    resume(job)
    assert (job.counts(), [each["call_id"] for each in failures(job)]) == ((11, 10, 0, 1), ["bad"])
    assert job.ids() == [f"call-{n:03}" for n in range(10)]


def test_a_resume_counts_one_that_fails_again_once(job: Import) -> None:
    fail_midway(job)
    resume(job)
    assert (job.counts(), [each["call_id"] for each in failures(job)]) == ((11, 9, 0, 2), ["bad", "call-007"])


def test_a_resume_without_failures_goes_on_from_its_checkpoint(job: Import) -> None:
    job.put(*calls(10))
    job.server.faults.queue = [Fault("status", 401, after=3)]
    with pytest.raises(JobFailedError):
        job.complete()
    asked = job.server.stats.requests
    resume(job)
    assert job.server.stats.requests == asked + 1
    assert job.counts() == (10, 10, 0, 0)


def test_a_new_job_that_stores_them_clears_them_for_the_old_one(job: Import) -> None:
    job.put(*calls(4), call_at(FROM, "bad", **UNSTORABLE), call_at(FROM, "worse", **UNSTORABLE))
    job.complete()
    old = job.job_id
    job.put(call_at(FROM, "bad"))
    job.complete()
    assert (job.counts(), [each["call_id"] for each in failures(job)]) == ((6, 1, 4, 1), ["worse"])
    job.job_id = old
    assert (job.counts(), [each["call_id"] for each in failures(job)]) == ((6, 4, 0, 2), ["worse"])
