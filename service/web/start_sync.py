"""POST /start-historical-sync: token, body, one statement, answer."""

import re
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, jsonify

from service.jobs import people as jobs
from service.jobs.principal import Principal
from service.web.http import authenticated, database, json_object, refuse

# `fromisoformat` takes any separator, and any digits that Unicode has; ISO 8601 does not.
ISO_8601 = re.compile(r"[\dW-]+([T ]\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?(Z|[+-][\d:]+)?)?", re.ASCII | re.IGNORECASE)

blueprint = Blueprint("start_sync", __name__)


@blueprint.post("/start-historical-sync")
@authenticated
def start_historical_sync(principal: Principal) -> Response:
    date_from, date_to = _date_range(json_object("date_from", "date_to"))
    job_id = jobs.naming_the_active_job(
        database(), principal, lambda conn: jobs.start(conn, principal, date_from, date_to)
    )
    return jsonify(job_id=str(job_id), status="pending")


def _date_range(body: dict[str, Any]) -> tuple[datetime | None, datetime | None]:
    """Return `date_from` and `date_to`, None where absent. Raises ServiceError (400) naming each bad field."""
    instants: dict[str, datetime] = {}
    faults: dict[str, str] = {}
    for name in ("date_from", "date_to"):
        if body.get(name) is not None:
            try:
                instants[name] = _instant(body[name])
            except (ValueError, OverflowError):
                faults[name] = "must be an ISO 8601 date or time, in the years 0001 to 9999"
    date_from, date_to = instants.get("date_from"), instants.get("date_to")
    if not faults and date_from and date_from >= (date_to or datetime.now(UTC)):
        # The table's CHECK decides; this only puts the answer before the ones about the user and the agency.
        faults["date_from"] = "must be before date_to" if date_to else "must be in the past"
    refuse(faults)
    return date_from, date_to


def _instant(value: object) -> datetime:
    """Parse an ISO 8601 date or date-time; without a time it is midnight, without an offset it is UTC."""
    if not isinstance(value, str) or not ISO_8601.fullmatch(value):
        raise ValueError
    instant = datetime.fromisoformat(value.upper())
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
