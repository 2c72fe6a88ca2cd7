"""How each exception is answered: on an app whose routes raise them."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient

from service import errors
from service.settings import Settings
from service.web.errors import ApiError, ErrorCode
from tests.support.http_assertions import assert_error
from tests.support.logs import json_logs

FAILURES = {
    type(error).__name__: error
    for error in (
        errors.DatabaseError("only for operators"),
        errors.DatabaseUnavailableError("only for operators"),
        errors.DatabaseBusyError("only for operators", retry_after=1),
        errors.DataRefusedError("only for operators"),
        errors.DatabaseForbiddenError("only for operators"),
        errors.NotMigratedError("only for operators"),
        errors.InvalidDateRangeError("only for operators"),
        errors.JobConflictError("only for operators"),
        errors.SyncAlreadyActiveError("only for operators", {"id": "x"}),
        errors.SessionRevokedError("only for operators"),
        errors.NoAgencyError(),
        errors.AgencyNotFoundError("only for operators"),
        errors.JobNotFoundError(),
        errors.JobNotYoursError(),
        errors.JobNotCancellableError("failed"),
        errors.JobNotResumableError("pending"),
        errors.LeaseLostError("failed", 1, 2, 3),
    )
}


@pytest.fixture
def broken_client(app: Flask) -> FlaskClient:
    """An app whose routes raise."""

    def crash() -> str:
        raise RuntimeError("the password is hunter2")

    def refuse(code: str) -> str:
        raise ApiError(ErrorCode[code], reason="only for operators", retry_after=5)

    def fail(name: str) -> str:
        raise FAILURES[name]

    app.add_url_rule("/crash", view_func=crash)
    app.add_url_rule("/refuse/<code>", view_func=refuse)
    app.add_url_rule("/fail/<name>", view_func=fail)
    app.add_url_rule("/abort/<int:status>", "abort", lambda status: abort(status))
    app.add_url_rule("/teapot", "teapot", lambda: abort(418))
    app.add_url_rule("/gateway", "gateway", lambda: abort(502))
    return app.test_client()


def test_an_unexpected_exception_is_a_500_that_shows_nothing(broken_client: FlaskClient) -> None:
    response = broken_client.get("/crash")

    body = assert_error(response, 500, "internal_error")
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert "hunter2" not in response.text


@pytest.mark.parametrize("code", list(ErrorCode), ids=lambda code: code.value)
def test_each_code_is_answered_with_its_status_and_text_and_never_its_reason(
    broken_client: FlaskClient, code: ErrorCode
) -> None:
    response = broken_client.get(f"/refuse/{code.name}")

    assert response.status_code == code.status
    assert response.json is not None
    assert (response.json["code"], response.json["error"]) == (code.value, code.text)
    assert "operators" not in response.text


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/abort/400", 400, "bad_request"),
        ("/abort/404", 404, "not_found"),
        ("/abort/413", 413, "body_too_large"),
        ("/abort/415", 400, "bad_request"),
        ("/teapot", 400, "bad_request"),
        ("/gateway", 500, "internal_error"),
    ],
)
def test_errors_raised_by_flask_and_werkzeug_have_the_same_shape(
    broken_client: FlaskClient, path: str, status: int, code: str
) -> None:
    response = broken_client.get(path)

    assert response.json is not None
    assert (response.status_code, response.json["code"]) == (status, code)
    assert ("fields" in response.json) == (status == 400)
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_the_cause_of_a_500_is_logged_with_the_requests_id(
    broken_client: FlaskClient, make_settings: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    with json_logs(make_settings(log_format="json"), capsys) as lines:
        broken_client.get("/crash", headers={"X-Request-ID": "r-2"})
        cause, request = lines()

    assert "hunter2" in cause["exception"]
    assert {cause["request_id"], request["request_id"]} == {"r-2"}
    assert request["status"] == 500


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        ("DatabaseError", 500, {"code": "internal_error"}),
        ("DatabaseUnavailableError", 503, {"code": "database_unavailable"}),
        ("DatabaseBusyError", 503, {"code": "database_busy"}),
        ("DataRefusedError", 500, {"code": "internal_error"}),
        ("DatabaseForbiddenError", 500, {"code": "internal_error"}),
        ("NotMigratedError", 500, {"code": "internal_error"}),
        ("InvalidDateRangeError", 400, {"code": "invalid_fields", "fields": {"date_from": "must be before date_to"}}),
        ("JobConflictError", 500, {"code": "internal_error"}),
        ("SyncAlreadyActiveError", 409, {"code": "sync_already_active", "job": {"id": "x"}}),
        ("SessionRevokedError", 401, {"code": "session_revoked"}),
        ("NoAgencyError", 403, {"code": "no_agency"}),
        ("AgencyNotFoundError", 500, {"code": "internal_error"}),
        ("JobNotFoundError", 404, {"code": "job_not_found"}),
        ("JobNotYoursError", 403, {"code": "job_not_yours"}),
        ("JobNotCancellableError", 400, {"code": "job_not_cancellable", "current_status": "failed"}),
        ("JobNotResumableError", 400, {"code": "job_not_resumable", "current_status": "pending"}),
        ("LeaseLostError", 500, {"code": "internal_error"}),
    ],
)
def test_each_thing_that_can_go_wrong_has_its_code_and_details_and_shows_nothing_more(
    broken_client: FlaskClient, name: str, status: int, body: dict[str, Any]
) -> None:
    response = broken_client.get(f"/fail/{name}")

    answer = response.get_json()
    request_id = {"request_id": response.headers["X-Request-ID"]} if status >= 500 else {}
    assert (response.status_code, answer) == (status, {"error": answer["error"], **body, **request_id})
    assert "operators" not in response.text


def test_everything_that_can_go_wrong_is_answered_above() -> None:
    known = {name for name, each in vars(errors).items() if isinstance(each, type) and name.endswith("Error")}
    assert known - {"_WrongStatusError"} == set(FAILURES)


def test_a_busy_database_that_knows_when_it_is_free_says_so(broken_client: FlaskClient) -> None:
    assert broken_client.get("/fail/DatabaseBusyError").headers["Retry-After"] == "1"
