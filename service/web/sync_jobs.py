"""Watching and steering: get-sync-status, list-sync-jobs, cancel-historical-sync, resume-historical-sync."""

import re
from typing import Any, cast
from uuid import UUID

from flask import Blueprint, Response, jsonify, request

from service.jobs import people as jobs
from service.jobs.principal import Principal
from service.web.auth import CANONICAL_UUID
from service.web.http import authenticated, database, json_object, parameters, refuse

ACTIVE = ("pending", "in_progress")
LARGEST_PAGE = 100
DEFAULT_PAGE = 20

blueprint = Blueprint("sync_jobs", __name__)


@blueprint.get("/get-sync-status")
@authenticated
def get_sync_status(principal: Principal) -> Response:
    faults: dict[str, str] = {}
    job_id = _uuid(parameters("job_id").get("job_id"), "job_id", faults)
    refuse(faults)
    with database().connection() as conn:
        job = jobs.find(conn, principal, job_id) if job_id else jobs.latest(conn, principal)
    active = job is not None and job.status in ACTIVE
    name = "job" if job_id or active else "recent_job"
    response = jsonify({"active": active, name: job and job.public()})
    response.add_etag()
    response.make_conditional(request)
    return response


@blueprint.get("/list-sync-jobs")
@authenticated
def list_sync_jobs(principal: Principal) -> Response:
    sent = parameters("before", "limit")
    faults: dict[str, str] = {}
    before = _uuid(sent.get("before"), "before", faults)
    limit = _limit(sent.get("limit"), faults)
    refuse(faults)
    with database().connection() as conn:
        # One more than asked for tells whether there is a next page.
        found = jobs.page(conn, principal, before, limit + 1)
    more = len(found) > limit
    page = found[:limit]
    return jsonify(jobs=[job.public() for job in page], next=str(page[-1].id) if more else None)


@blueprint.post("/cancel-historical-sync")
@authenticated
def cancel_historical_sync(principal: Principal) -> Response:
    job_id = _job_id(json_object("job_id"))
    with database().connection() as conn:
        jobs.cancel(conn, principal, job_id)
    return jsonify(job_id=str(job_id), status="cancelled")


@blueprint.post("/resume-historical-sync")
@authenticated
def resume_historical_sync(principal: Principal) -> Response:
    job_id = _job_id(json_object("job_id"))
    jobs.naming_the_active_job(database(), principal, lambda conn: jobs.resume(conn, principal, job_id))
    return jsonify(job_id=str(job_id), status="pending")


def _job_id(body: dict[str, Any]) -> UUID:
    faults: dict[str, str] = {}
    job_id = _uuid(body.get("job_id"), "job_id", faults)
    if job_id is None:
        faults.setdefault("job_id", "is required")
        refuse(faults)
    return cast(UUID, job_id)


def _uuid(value: object, field: str, faults: dict[str, str]) -> UUID | None:
    if value is None:
        return None
    if not isinstance(value, str) or not CANONICAL_UUID.fullmatch(value):
        faults[field] = "must be a UUID"
        return None
    return UUID(value)


def _limit(text: str | None, faults: dict[str, str]) -> int:
    if text is None:
        return DEFAULT_PAGE
    if not re.fullmatch(r"\d{1,3}", text, re.ASCII) or not 1 <= int(text) <= LARGEST_PAGE:
        faults["limit"] = f"must be 1 to {LARGEST_PAGE}"
        return DEFAULT_PAGE
    return int(text)
