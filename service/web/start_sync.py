"""POST /start-historical-sync: token, body, one statement, answer."""

from flask import Blueprint, Response, jsonify

from service.jobs import people as jobs
from service.jobs.principal import Principal
from service.web.requests import authenticated, database, read_body
from service.web.schemas import DateRange, PendingJob

blueprint = Blueprint("start_sync", __name__)


@blueprint.post("/start-historical-sync")
@authenticated
def start_historical_sync(principal: Principal) -> Response:
    wanted = read_body(DateRange)
    job_id = jobs.start(database(), principal, wanted.date_from, wanted.date_to)
    return jsonify(PendingJob(job_id))
