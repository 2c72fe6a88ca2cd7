"""Watching and steering: get-sync-status, list-sync-jobs, cancel-historical-sync, resume-historical-sync."""

import re
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, request

from service import jobs
from service.auth import CANONICAL_UUID, Principal
from service.errors import ErrorCode, ServiceError
from service.http import authenticated, database, json_object

ACTIVE = ("pending", "in_progress")
LARGEST_PAGE = 100
DEFAULT_PAGE = 20

blueprint = Blueprint("sync_jobs", __name__)


@blueprint.get("/get-sync-status")
@authenticated
def get_sync_status(principal: Principal) -> Response:
    job_id = _uuid(request.args.get("job_id"), "job_id")
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
    before, limit = _uuid(request.args.get("before"), "before"), _limit(request.args.get("limit"))
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
    try:
        with database().connection() as conn:
            jobs.resume(conn, principal, job_id)
    except ServiceError as conflict:
        if conflict.code is ErrorCode.SYNC_ALREADY_ACTIVE:
            with database().connection() as conn:
                job = jobs.active(conn, principal)
            conflict.details["job"] = job and job.public()
        raise
    return jsonify(job_id=str(job_id), status="pending")


def _job_id(body: dict[str, Any]) -> UUID:
    job_id = _uuid(body.get("job_id"), "job_id")
    if job_id is None:
        raise ServiceError(ErrorCode.INVALID_FIELDS, fields={"job_id": "is required"})
    return job_id


def _uuid(value: object, field: str) -> UUID | None:
    if value is None:
        return None
    if not isinstance(value, str) or not CANONICAL_UUID.fullmatch(value):
        raise ServiceError(ErrorCode.INVALID_FIELDS, fields={field: "must be a UUID"})
    return UUID(value)


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_PAGE
    if not re.fullmatch(r"\d{1,3}", text, re.ASCII) or not 1 <= int(text) <= LARGEST_PAGE:
        raise ServiceError(ErrorCode.INVALID_FIELDS, fields={"limit": f"must be 1 to {LARGEST_PAGE}"})
    return int(text)
