"""What every response has in common: JSON, a request id, one log line; and the rendering of every error."""

import json
import re
import time
from typing import Any
from uuid import uuid4

import msgspec
import structlog
from flask import Flask, Response, g, jsonify, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import MethodNotAllowed, NotFound

from service.web.errors import ApiError, ErrorCode, as_api_error

REQUEST_ID = re.compile(r"[\x20-\x7e]{1,128}")
# Where the server leaves the ApiError that answers what it could not read as a request.
REFUSAL = "historical_sync.refusal"

log = structlog.get_logger(__name__)


def init_app(app: Flask) -> None:
    """Give every response of `app` its id and log line, and every error the shape of all errors."""
    app.json = Json(app)
    app.before_request(_begin)
    app.after_request(_finish)  # runs last: Flask calls these in reverse order
    app.register_error_handler(Exception, _render)
    app.teardown_request(lambda _: structlog.contextvars.clear_contextvars())


class Json(DefaultJSONProvider):
    """Writes the dataclasses of answers, their fields in order, and times, which are in UTC, as ISO 8601 with `Z`."""

    def dumps(self, obj: Any, **_: Any) -> str:
        return to_json(obj)


def to_json(answer: object) -> str:
    try:
        return msgspec.json.encode(answer).decode()
    except UnicodeEncodeError:  # a half of a surrogate pair, in a name that is quoted from a body
        return json.dumps(answer)


def unless_known(answer: object) -> Response:
    """Return an answer with its ETag, or 304 where the caller has it (RFC 9110, section 13.1.2)."""
    return revalidated(jsonify(answer))


def revalidated(response: Response) -> Response:
    """Give a response its ETag, and make a 304 of it where the caller has it."""
    response.add_etag()
    # If-None-Match alone: the other conditions are for those who change something.
    if request.if_none_match.contains_weak(response.get_etag()[0] or ""):
        response.status_code = 304
    return response


def _begin() -> Response | None:
    g.started = time.perf_counter()
    sent = request.headers.get("X-Request-ID", "")
    g.request_id = sent if REQUEST_ID.fullmatch(sent) else str(uuid4())
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    if REFUSAL in request.environ:
        raise request.environ[REFUSAL]
    preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    if preflight and isinstance(request.routing_exception, NotFound):
        return Response()  # a browser shows a page the 404 only after a preflight that succeeds
    return None


def _finish(response: Response) -> Response:
    method = request.method
    response.headers["X-Request-ID"] = g.request_id
    if "private" in g and method in ("GET", "HEAD"):
        # A cache may keep what one user may see, and must ask again with the token of whoever wants it.
        response.headers["Cache-Control"] = "private, no-cache"
        response.vary.add("Authorization")
    log.info(
        "request",
        method=method,
        path=request.path,
        status=response.status_code,
        duration_ms=round((time.perf_counter() - g.started) * 1000, 2),
    )
    return response


def _render(error: Exception) -> Response:
    answer = as_api_error(error)
    _log(answer, error)
    body = answer.body()
    if answer.status >= 500:
        body["request_id"] = g.request_id
    response = jsonify(body)
    response.status_code = answer.status
    if answer.status == 401:
        sent = answer.code is not ErrorCode.TOKEN_MISSING
        response.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if sent else "Bearer"
    if answer.retry_after is not None:
        response.headers["Retry-After"] = str(answer.retry_after)
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return response


def _log(answer: ApiError, error: Exception) -> None:
    if answer.status >= 500:
        # A missing database is known; a traceback per request would bury everything else.
        trace = error if answer.code is ErrorCode.INTERNAL_ERROR else None
        log.error("request_failed", code=answer.code.value, reason=answer.reason, exc_info=trace)
    elif answer.reason:
        log.info("request_refused", code=answer.code.value, reason=answer.reason)
