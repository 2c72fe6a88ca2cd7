"""What every response has in common: request id, CORS, error bodies, one log line; and the health routes."""

import json
import re
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, cast
from uuid import uuid4

import structlog
from flask import Blueprint, Flask, Response, current_app, g, jsonify, request
from flask_cors import CORS
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from service.database import Database
from service.errors import ErrorCode, ServiceError
from service.settings import Settings
from service.web.auth import Authenticator

MAX_BODY_BYTES = 16 * 1024
REQUEST_ID = re.compile(r"[\x20-\x7e]{1,128}")
ALLOWED_METHODS = "GET, POST, OPTIONS"
ALLOWED_HEADERS = (
    "authorization, x-client-info, apikey, content-type, x-region, x-retry-count, "
    "traceparent, tracestate, baggage, x-request-id, if-none-match"
)
EXPOSED_HEADERS = "x-request-id, retry-after, etag, allow"
PREFLIGHT_SECONDS = 24 * 60 * 60

# supabase-js sends a region as a header and as this, for the platform that it was written for.
PARAMETERS_OF_THE_PLATFORM = {"forceFunctionRegion"}
# Where the server leaves the ServiceError that answers what it could not read as a request.
REFUSAL = "historical_sync.refusal"
TOO_LARGE = {
    414: "The address of the request is too long.",
    431: "The headers of the request are too large.",
}

HTTP_ERRORS = {
    404: ErrorCode.NOT_FOUND,
    413: ErrorCode.BODY_TOO_LARGE,
}

log = structlog.get_logger(__name__)
health = Blueprint("health", __name__)


def init_app(app: Flask, settings: Settings) -> None:
    """Give every response of `app` its id, CORS headers and log line, and every error the contract's shape."""
    # One more than allowed: werkzeug cuts a body without a Content-Length off at the limit, silently.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    app.url_map.merge_slashes = False  # a redirect is no answer to a POST
    app.before_request(_begin)
    app.after_request(_finish)  # runs last: Flask calls these in reverse order
    app.after_request(_keep_private)
    app.after_request(_add_cors_lists)
    CORS(
        app,
        origins=list(settings.cors_allowed_origins),
        send_wildcard=True,
        expose_headers=EXPOSED_HEADERS,
        max_age=PREFLIGHT_SECONDS,
    )
    app.register_error_handler(Exception, _render)
    app.teardown_request(lambda _: structlog.contextvars.clear_contextvars())


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


def parameters(*known: str) -> dict[str, str]:
    """Return the request's query parameters.

    Raises ServiceError: 400 for one that is not known, and for one that is there twice: whichever of them counted, the
    caller may have meant the other.
    """
    faults = {}
    for name, values in request.args.lists():
        if name in PARAMETERS_OF_THE_PLATFORM:
            continue
        if name not in known:
            faults[name] = "is not a known parameter"
        elif len(values) > 1:
            faults[name] = "is given more than once"
    refuse(faults)
    return {name: request.args[name] for name in known if name in request.args}


def json_object(*known: str) -> dict[str, Any]:
    """Return the request's body, `{}` where there is none, whatever its Content-Type says.

    Raises ServiceError: 400 unless it is a JSON object (RFC 8259) with no field but the known ones, and for a query
    parameter: what belongs into the body must not be passed over; 413 if the body is too large.
    """
    parameters()
    body = _read_body()
    try:
        # A deep nest of brackets exhausts the parser's stack; "NaN" and a digit string of 16 KiB are not JSON either.
        document = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse) if body else {}
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ServiceError(ErrorCode.INVALID_BODY, fields={})
    refuse(dict.fromkeys(sorted(document.keys() - set(known)), "is not a known field"))
    return document


def refuse(faults: dict[str, str]) -> None:
    """Raise ServiceError (400) if there are faults, which name each bad field."""
    if faults:
        raise ServiceError(ErrorCode.INVALID_FIELDS, fields=faults)


def malformed(reason: str | None, *, status: int = 400) -> ServiceError:
    """Return the error for what is no HTTP, or more of it than is read; `reason` goes to the log."""
    return ServiceError(ErrorCode.BAD_REQUEST, reason=reason, status=status, text=TOO_LARGE.get(status), fields={})


def _read_body() -> bytes:
    try:
        body = request.get_data(cache=False)
    except HTTPException:
        raise
    except Exception as error:
        raise malformed(repr(error)) from error  # the server's own, for bad chunks
    if len(body) > MAX_BODY_BYTES:
        raise ServiceError(ErrorCode.BODY_TOO_LARGE)
    if len(body) < (request.content_length or 0):
        # gunicorn ends a body where the connection ends. What is left of a range must not import everything.
        raise malformed("the body is shorter than its Content-Length")
    return body


@health.get("/healthz")
def healthz() -> Response:
    return jsonify(status="ok")


@health.get("/readyz")
def readyz() -> Response:
    with database().connection() as conn:
        conn.execute("select 1")
    return jsonify(status="ok")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _begin() -> Response | None:
    g.started = time.perf_counter()
    sent = request.headers.get("X-Request-ID", "")
    g.request_id = sent if REQUEST_ID.fullmatch(sent) else str(uuid4())
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    if REFUSAL in request.environ:
        raise request.environ[REFUSAL]
    if isinstance(request.routing_exception, NotFound) and "Access-Control-Request-Method" in request.headers:
        return Response()  # a browser shows a page the 404 only after a preflight that succeeds
    return None


def _add_cors_lists(response: Response) -> Response:
    # flask-cors decides about the origin; the lists are the same for every request, as the Edge Functions sent them.
    if response.headers.get("Access-Control-Allow-Origin") != "*":
        response.vary.add("Origin")
    if "Access-Control-Allow-Origin" in response.headers:
        response.headers["Access-Control-Allow-Methods"] = ALLOWED_METHODS
        response.headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
        if request.method == "OPTIONS":
            response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
    return response


def _keep_private(response: Response) -> Response:
    # A cache may keep what one user may see, and must ask again with the token of whoever wants it.
    if g.get("private") and request.method in ("GET", "HEAD"):
        response.cache_control.private = True
        response.cache_control.no_cache = True
        response.vary.add("Authorization")
    return response


def _finish(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    log.info(
        "request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        duration_ms=round((time.perf_counter() - g.started) * 1000, 2),
    )
    return response


def _render(error: Exception) -> Response:
    failure = _as_service_error(error)
    code = failure.code
    body = {"error": failure.text, "code": code.value, **failure.details}
    if failure.status >= 500:
        body["request_id"] = g.request_id
        # A missing database is known; a traceback per request would bury everything else.
        trace = error if code is ErrorCode.INTERNAL_ERROR else None
        log.error("request_failed", code=code.value, reason=failure.reason, exc_info=trace)
    elif failure.reason:
        log.info("request_refused", code=code.value, reason=failure.reason)
    response = jsonify(body)
    response.status_code = failure.status
    if failure.status == 401:
        sent = code is not ErrorCode.TOKEN_MISSING
        response.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if sent else "Bearer"
    if failure.retry_after is not None:
        response.headers["Retry-After"] = str(failure.retry_after)
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return response


def _as_service_error(error: Exception) -> ServiceError:
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, MethodNotAllowed):
        code = ErrorCode.METHOD_NOT_ALLOWED
        usable = sorted(set(error.valid_methods or ()) - {"HEAD", "OPTIONS"})
        return ServiceError(code, text=f"{code.text} Use {' or '.join(usable)}.")
    if isinstance(error, HTTPException) and error.code is not None and error.code < 500:
        return ServiceError(HTTP_ERRORS[error.code]) if error.code in HTTP_ERRORS else malformed(None)
    return ServiceError(ErrorCode.INTERNAL_ERROR, reason=repr(error))
