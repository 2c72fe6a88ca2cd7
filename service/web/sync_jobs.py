"""Watching and steering: get-sync-status, get-sync-coverage, list-sync-jobs, cancel- and resume-historical-sync."""

from flask import Blueprint, Response, jsonify

from service.jobs import people as jobs
from service.jobs.principal import Principal
from service.web.requests import authenticated, database, read_body, read_query
from service.web.responses import unless_known
from service.web.schemas import (
    ActiveJob,
    CancelledJob,
    CoverageQuery,
    FoundJob,
    JobList,
    JobReference,
    ListQuery,
    NoActiveJob,
    PendingJob,
    StatusQuery,
)

blueprint = Blueprint("sync_jobs", __name__)


@blueprint.get("/get-sync-status")
@authenticated
def get_sync_status(principal: Principal) -> Response:
    job_id = read_query(StatusQuery).job_id
    if job_id is not None:
        found = jobs.find(database(), principal, job_id)
        return unless_known(FoundJob(found.is_active, found))
    job = jobs.latest(database(), principal)
    if job is not None and job.is_active:
        return unless_known(ActiveJob(active=True, job=job))
    return unless_known(NoActiveJob(active=False, recent_job=job))


@blueprint.get("/get-sync-coverage")
@authenticated
def get_sync_coverage(principal: Principal) -> Response:
    query = read_query(CoverageQuery)
    return unless_known(jobs.coverage(database(), principal, query.date_from, query.date_to))


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
