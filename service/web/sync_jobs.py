"""Watching and steering: get-sync-status, list-sync-jobs, cancel-historical-sync, resume-historical-sync."""

from flask import Blueprint, Response, jsonify, request

from service.jobs import people as jobs
from service.jobs.principal import Principal
from service.web.requests import authenticated, database, read_body, read_query
from service.web.schemas import (
    CancelledJob,
    JobList,
    JobReference,
    ListQuery,
    NoActiveJob,
    OneJob,
    PendingJob,
    StatusQuery,
)

blueprint = Blueprint("sync_jobs", __name__)


@blueprint.get("/get-sync-status")
@authenticated
def get_sync_status(principal: Principal) -> Response:
    job_id = read_query(StatusQuery).job_id
    job = jobs.find(database(), principal, job_id) if job_id else jobs.latest(database(), principal)
    if job is not None and (job_id is not None or job.is_active):
        response = jsonify(OneJob(job.is_active, job))
    else:
        response = jsonify(NoActiveJob(active=False, recent_job=job))
    response.add_etag()
    # If-None-Match alone: the other conditions are for those who change something.
    if request.if_none_match.contains_weak(response.get_etag()[0] or ""):
        response.status_code = 304
    return response


@blueprint.get("/list-sync-jobs")
@authenticated
def list_sync_jobs(principal: Principal) -> Response:
    query = read_query(ListQuery)
    # One more than asked for tells whether there is a next page.
    found = jobs.list_jobs(database(), principal, query.before, query.limit + 1)
    shown = found[: query.limit]
    return jsonify(JobList(shown, next=shown[-1].id if len(found) > query.limit else None))


@blueprint.post("/cancel-historical-sync")
@authenticated
def cancel_historical_sync(principal: Principal) -> Response:
    job_id = read_body(JobReference).job_id
    jobs.cancel(database(), principal, job_id)
    return jsonify(CancelledJob(job_id))


@blueprint.post("/resume-historical-sync")
@authenticated
def resume_historical_sync(principal: Principal) -> Response:
    job_id = read_body(JobReference).job_id
    jobs.resume(database(), principal, job_id)
    return jsonify(PendingJob(job_id))
