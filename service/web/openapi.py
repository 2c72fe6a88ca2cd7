"""GET /openapi.json: the description of the HTTP API (OpenAPI 3.1), made from operations, schemas and error codes."""

from functools import cache
from typing import Any

from flask import Blueprint, Response, jsonify
from pydantic import TypeAdapter

from service.jobs.job import Job, JobStatus
from service.version import VERSION
from service.web.errors import ErrorCode
from service.web.operations import OPERATIONS, Operation

REF = "#/components/schemas/{model}"
DESCRIPTION = (
    "Brings an agency's past Ultravox calls into its own Postgres. Every function also answers without the prefix"
    " /functions/v1. Every response carries X-Request-ID and CORS headers. A query parameter of a function that is not"
    " described here, or is given twice, is a 400 that names it; forceFunctionRegion, which supabase-js adds for a"
    " region, is passed over. What can be read with GET answers HEAD as well. What is no HTTP request, or more of one"
    " than is read, is refused with 400, 408, 414 or 431, the code bad_request and the end of the connection."
)
HEADERS: dict[str, Any] = {
    "X-Request-ID": {
        "description": "The caller's, if it is 1 to 128 printable ASCII characters, else a new one.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
    "ETag": {
        "description": "Names this answer; sent back as If-None-Match, it saves the next one.",
        "schema": {"type": "string"},
    },
    "Cache-Control": {
        "description": "Only the caller's own cache may keep it, and has to ask before it is used again.",
        "schema": {"const": "private, no-cache"},
    },
    "Vary": {
        "description": "Authorization, and Origin where the allowed origins are listed.",
        "schema": {"type": "string"},
    },
    "WWW-Authenticate": {
        "description": '`Bearer` without a token, `Bearer error="invalid_token"` with one that is not accepted.',
        "schema": {"type": "string"},
    },
    "Allow": {"description": "The methods to use.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}},
}
IF_NONE_MATCH = {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}}
# What an error carries beside its sentence and its code.
DETAILS: dict[str, Any] = {
    "fields": dict[str, str],
    "current_status": JobStatus,
    "job": Job,
    "request_id": str,
}

blueprint = Blueprint("openapi", __name__)


@blueprint.get("/openapi.json")
def openapi() -> Response:
    return jsonify(build_document())


@cache
def build_document() -> dict[str, Any]:
    """Return the document; it is the same one every time."""
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "historical-sync", "version": VERSION, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"supabase": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "supabase": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An access token of Supabase Auth.",
                }
            },
            "headers": HEADERS,
            "schemas": _schemas(),
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": ["sync" if operation.needs_token else "operations"],
    }
    if not operation.needs_token:
        described["security"] = []
    if parameters := _parameters(operation):
        described["parameters"] = parameters
    if operation.body:
        schema = operation.body.model_json_schema()
        content = {"application/json": {"schema": {"$ref": REF.format(model=operation.body.__name__)}}}
        described["requestBody"] = {"required": "required" in schema, "content": content}
    return {**described, "responses": _responses(operation)}


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters = []
    for name, field in tidy(operation.query.model_json_schema()).get("properties", {}).items():
        description = field.pop("description")
        if isinstance(field["type"], list):
            [field["type"]] = set(field["type"]) - {"null"}  # an absent parameter is not null
        if default := operation.query.model_fields[name].default:
            field["default"] = default
        parameters.append({"name": name, "in": "query", "description": description, "schema": field})
    return [*parameters, IF_NONE_MATCH] if operation.has_etag else parameters


def _responses(operation: Operation) -> dict[str, Any]:
    headers = ["X-Request-ID"]
    if operation.needs_token and operation.method == "get":
        headers += ["ETag"] * operation.has_etag + ["Cache-Control", "Vary"]
    answers = [_schema_of(each) for each in operation.answers]
    responses = {"200": _response("It is done." if operation.method == "post" else "This.", headers, answers)}
    responses["200"]["content"] = {operation.media_type: responses["200"]["content"].pop("application/json")}
    if operation.has_etag:
        responses["304"] = _response("Not changed since the ETag of If-None-Match.", headers, [])
    for status in sorted({status for code in operation.errors for status in code.statuses}):
        responses[str(status)] = _error_response(status, operation)
    return responses


def _error_response(status: int, operation: Operation) -> dict[str, Any]:
    codes = [code for code in ErrorCode if code in operation.errors and status in code.statuses]
    headers = ["X-Request-ID"]
    headers += {401: ["WWW-Authenticate"], 405: ["Allow"]}.get(status, [])
    headers += ["Retry-After"] * all(code.retry_after for code in codes)
    text = "; ".join(f"`{code.value}`: {code.meaning}" for code in codes)
    return _response(f"{text}.", headers, [_ref(code.value) for code in codes])


def _response(description: str, headers: list[str], schemas: list[Any]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
    }
    if schemas:
        schema = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
        response["content"] = {"application/json": {"schema": schema}}
    return response


def _schema_of(answer: Any) -> dict[str, Any]:
    if answer in (str, dict[str, Any]):
        return {"type": "string" if answer is str else "object"}
    return _ref(answer.__name__)


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": REF.format(model=name)}


def _schemas() -> dict[str, Any]:
    bodies = {operation.body for operation in OPERATIONS if operation.body}
    answers = {answer for operation in OPERATIONS for answer in operation.answers} - {str}
    wanted: list[Any] = [(each, "validation", TypeAdapter(each)) for each in bodies]
    wanted += [(each, "serialization", TypeAdapter(each)) for each in answers if isinstance(each, type)]
    _, document = TypeAdapter.json_schemas(wanted, ref_template=REF)
    schemas = {name: tidy(schema) for name, schema in sorted(document["$defs"].items())}
    codes = {"ErrorCode": {"enum": [code.value for code in ErrorCode]}}
    return {**schemas, **codes, **{code.value: _error_schema(code) for code in ErrorCode}}


def _error_schema(code: ErrorCode) -> dict[str, Any]:
    details = {name: tidy(TypeAdapter(DETAILS[name]).json_schema()) for name in code.carries if name != "job"}
    if "job" in code.carries:
        details["job"] = _ref("Job")
    return {
        "type": "object",
        "description": code.meaning,
        "properties": {
            "error": {"type": "string", "description": "A sentence for people.", "examples": [code.text]},
            "code": {"const": code.value},
            **details,
        },
        "required": ["error", "code", *details],
        "additionalProperties": False,
    }


def tidy(schema: Any) -> Any:
    """Return a schema of pydantic's without its titles, with `null` as one more type and not as an alternative."""
    if isinstance(schema, list):
        return [tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: tidy(value) for key, value in schema.items() if key not in ("title", "default")}
    match kept.get("anyOf"):
        case [{"type": str(name), **rest}, {"type": "null"}]:
            del kept["anyOf"]
            return {"type": [name, "null"], **rest, **kept}
    return kept
