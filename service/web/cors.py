"""Which pages may call the service: the CORS headers of every response, as the Edge Functions sent them.

nginx says the same on the errors that it answers itself.
"""

from flask import Flask, Response, request
from flask_cors import CORS

from service.settings import Settings

ALLOWED_METHODS = "GET, POST, OPTIONS"
ALLOWED_HEADERS = (
    "authorization, x-client-info, apikey, content-type, x-region, x-retry-count, "
    "traceparent, tracestate, baggage, x-request-id, if-none-match"
)
EXPOSED_HEADERS = "x-request-id, retry-after, etag, allow"
PREFLIGHT_SECONDS = 24 * 60 * 60


def init_app(app: Flask, settings: Settings) -> None:
    """Give every response of `app` its CORS headers."""
    app.after_request(_add_lists)  # after flask-cors: Flask calls these in reverse order
    CORS(
        app,
        origins=list(settings.cors_allowed_origins),
        send_wildcard=True,
        expose_headers=EXPOSED_HEADERS,
        max_age=PREFLIGHT_SECONDS,
    )


def _add_lists(response: Response) -> Response:
    # flask-cors decides about the origin; the lists are the same for every request.
    origin = response.headers.get("Access-Control-Allow-Origin")
    if origin != "*":
        response.vary.add("Origin")
    if origin is not None:
        response.headers["Access-Control-Allow-Methods"] = ALLOWED_METHODS
        response.headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
        if request.method == "OPTIONS":
            response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
    return response
