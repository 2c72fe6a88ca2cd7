"""GET /openapi.json: the description of the HTTP API (OpenAPI 3.1), as it stands in openapi.json beside this file."""

import json
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, jsonify

DOCUMENT: dict[str, Any] = json.loads(Path(__file__).with_name("openapi.json").read_text(encoding="utf-8"))

blueprint = Blueprint("openapi", __name__)


@blueprint.get("/openapi.json")
def openapi() -> Response:
    return jsonify(DOCUMENT)
