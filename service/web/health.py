"""GET /healthz: the process answers. GET /readyz: the database answers too."""

from flask import Blueprint, Response, jsonify

from service.web.requests import database
from service.web.schemas import Health

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    return jsonify(Health())


@blueprint.get("/readyz")
def readyz() -> Response:
    with database().connection() as conn:
        conn.execute("select 1")
    return jsonify(Health())
