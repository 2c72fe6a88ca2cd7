"""What every error has in common."""

from typing import Any

from werkzeug.test import TestResponse


def assert_error(response: TestResponse, status: int, code: str, *, fields: list[str] | None = None) -> dict[str, Any]:
    """Assert the contract's shape of an error and return its body."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/json"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["X-Request-ID"]
    body: dict[str, Any] = response.get_json()
    assert body["code"] == code
    assert body["error"].endswith(".")
    assert sorted(body.get("fields", [])) == sorted(fields or [])
    assert all(f"{name} {fault}" in body["error"] for name, fault in body.get("fields", {}).items())
    assert ("fields" in body) == (status == 400)
    assert ("request_id" in body) == (status >= 500)
    assert ("Retry-After" in response.headers) == (status == 503)
    return body
