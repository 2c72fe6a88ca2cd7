"""Which pages may call, and what a browser lets them read."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.http_assertions import assert_error

START = "/functions/v1/start-historical-sync"
DASHBOARD = "https://dashboard.example"


def test_the_preflight_of_an_unknown_path_succeeds_so_that_a_page_can_see_its_404(client: FlaskClient) -> None:
    preflight = {"Origin": DASHBOARD, "Access-Control-Request-Method": "POST"}

    assert client.options("/nowhere", headers=preflight).status_code == 200
    assert_error(client.options("/nowhere"), 404, "not_found")


def test_a_preflight_is_answered_without_a_token(client: FlaskClient) -> None:
    response = client.options(
        START,
        headers={
            "Origin": DASHBOARD,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,x-client-info,apikey,content-type",
        },
    )

    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Access-Control-Max-Age"] == "86400"
    methods = response.headers["Access-Control-Allow-Methods"].split(", ")
    assert {"POST", "OPTIONS"} <= set(methods)
    headers = response.headers["Access-Control-Allow-Headers"].split(", ")
    assert headers == [
        *("authorization", "x-client-info", "apikey", "content-type", "x-region", "x-retry-count"),
        *("traceparent", "tracestate", "baggage", "x-request-id", "if-none-match"),
    ]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", START), ("POST", "/nowhere"), ("GET", START), ("GET", "/healthz")]
)
def test_every_response_carries_cors_headers_that_a_browser_can_use(
    client: FlaskClient, method: str, path: str
) -> None:
    response = client.open(path, method=method, headers={"Origin": DASHBOARD})

    assert response.headers.getlist("Access-Control-Allow-Origin") == ["*"]
    assert response.headers["Access-Control-Expose-Headers"] == "x-request-id, retry-after, etag, allow"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (DASHBOARD, DASHBOARD),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://localhost:30001", None),
        ("https://dashboard.example.evil", None),
        ("https://evil.example", None),
        ("null", None),
    ],
)
def test_only_configured_origins_are_allowed(make_app: Callable[..., Flask], origin: str, allowed: str | None) -> None:
    app = make_app(cors_allowed_origins=f"{DASHBOARD}, http://localhost:3000/")
    for response in (
        app.test_client().post(START, headers={"Origin": origin}),
        app.test_client().options(START, headers={"Origin": origin, "Access-Control-Request-Method": "POST"}),
    ):
        assert response.headers.get("Access-Control-Allow-Origin") == allowed
        assert response.headers["Vary"] == "Origin"
