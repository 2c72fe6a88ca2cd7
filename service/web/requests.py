"""What a request brings: its token, its query parameters, its body. What is wrong with them is refused here."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import structlog
from flask import Flask, current_app, g, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import HTTPException

from service.database import Database
from service.web.auth import Authenticator
from service.web.errors import ApiError, ErrorCode, invalid_fields, malformed
from service.web.schemas import NoQuery, faults

MAX_BODY_BYTES = 16 * 1024
# supabase-js sends a region as a header and as this, for the platform that it was written for.
PARAMETERS_OF_THE_PLATFORM = {"forceFunctionRegion"}

Schema = TypeVar("Schema", bound=BaseModel)


def init_app(app: Flask) -> None:
    # One more than allowed: werkzeug cuts a body without a Content-Length off at the limit, silently.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    app.url_map.merge_slashes = False  # a redirect is no answer to a POST


def authenticated(view: Callable[..., Any]) -> Callable[..., Any]:
    """Call the view with the Principal of the request's token, or answer 401."""

    @wraps(view)
    def wrapper(**arguments: Any) -> Any:
        g.private = True
        authenticator: Authenticator = current_app.extensions["authenticator"]
        principal = authenticator.authenticate(request.headers.get("Authorization"))
        structlog.contextvars.bind_contextvars(user_id=str(principal.user_id))
        return view(principal, **arguments)

    return wrapper


def database() -> Database:
    return cast(Database, current_app.extensions["database"])


def read_query(schema: type[Schema]) -> Schema:
    """Return the query parameters.

    Raises ApiError: 400 for one that the schema does not know or allow, and for one that is there twice: whichever of
    them counted, the caller may have meant the other.
    """
    sent = {name: values for name, values in request.args.lists() if name not in PARAMETERS_OF_THE_PLATFORM}
    twice = {name: "is given more than once" for name, values in sent.items() if len(values) > 1}
    return _parse(schema, {name: values[0] for name, values in sent.items()}, "is not a known parameter", twice)


def read_body(schema: type[Schema]) -> Schema:
    """Return the body, whatever its Content-Type says; none is the same as `{}`.

    Raises ApiError: 400 unless it is a JSON object (RFC 8259) that the schema allows, and for a query parameter: what
    belongs into the body must not be passed over; 413 if the body is too large.
    """
    read_query(NoQuery)
    return _parse(schema, _json_object(_read_bytes()), "is not a known field", {})


def _read_bytes() -> bytes:
    try:
        body = request.get_data(cache=False)
    except HTTPException:
        raise
    except Exception as error:
        raise malformed(repr(error)) from error  # the server's own, for bad chunks
    if len(body) > MAX_BODY_BYTES:
        raise ApiError(ErrorCode.BODY_TOO_LARGE)
    if len(body) < (request.content_length or 0):
        # gunicorn ends a body where the connection ends. What is left of a range must not import everything.
        raise malformed("the body is shorter than its Content-Length")
    return body


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        # A deep nest of brackets exhausts the parser's stack; "NaN" and a digit string of 16 KiB are not JSON either.
        document = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant) if body else {}
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ApiError(ErrorCode.INVALID_BODY, fields={})
    return document


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _parse(schema: type[Schema], values: dict[str, Any], unknown: str, refused: dict[str, str]) -> Schema:
    """Return what the schema makes of the values.

    Raises ApiError: 400 that names all that is wrong at once. An unknown one is often a known one misspelt, and whoever
    mends it should not meet the next fault only then.
    """
    refused = refused | {name: unknown for name in values if name not in schema.model_fields}
    try:
        parsed = schema.model_validate({name: value for name, value in values.items() if name not in refused})
    except ValidationError as error:
        raise invalid_fields(faults(error) | refused) from None
    if refused:
        raise invalid_fields(refused)
    return parsed
