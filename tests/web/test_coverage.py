"""GET /get-sync-coverage: what has arrived, day by day, beside what Ultravox counts."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from tests.support.database import Sql, add_agency
from tests.support.http_assertions import assert_error

COVERAGE = "/functions/v1/get-sync-coverage"
DAY = timedelta(days=1)
JULY_1, JULY_4 = date(2026, 7, 1), date(2026, 7, 4)


def at(day: date, hour: int = 12) -> datetime:
    return datetime.combine(day, time(hour), UTC)


@dataclass
class Agency:
    """An agency with calls, and what Ultravox has counted of them."""

    client: FlaskClient
    bearer: dict[str, str]
    sql: Sql
    id: UUID

    def has(self, moment: datetime, calls: int = 1, agency_id: UUID | None = None) -> None:
        self.sql.execute(
            """
            insert into public.calls (agency_id, ultravox_call_id, source, created_at, data)
            select %s, gen_random_uuid(), 'webhook', %s, '{}' from generate_series(1, %s)
            """,
            [agency_id or self.id, moment, calls],
        )

    def is_counted(self, day: date, calls: int, checked: datetime) -> None:
        self.sql.execute(
            """
            insert into historical_sync.source_days (agency_id, day, source_calls, counted, counted_at)
            values (%s, %s, %s, tstzrange(%s, %s), %s)
            """,
            [self.id, day, calls, at(day, 0), at(day + DAY, 0), checked],
        )

    def has_counted_job(self, date_from: datetime | None, date_to: datetime, counted: datetime) -> None:
        self.sql.execute(
            """
            insert into public.historical_sync_jobs (agency_id, status, date_from, date_to, source_counted_at)
            values (%s, 'completed', %s, %s, %s)
            """,
            [self.id, date_from, date_to, counted],
        )

    def coverage(self, query: str = "") -> dict[str, Any]:
        response = self.client.get(f"{COVERAGE}?{query}", headers=self.bearer)
        assert response.status_code == 200, response.text
        body = response.get_json()
        assert isinstance(body, dict)
        return body


@pytest.fixture
def agency(client: FlaskClient, bearer: dict[str, str], sql: Sql, agency_id: UUID) -> Agency:
    return Agency(client, bearer, sql, agency_id)


@pytest.fixture
def far_away(sql: Sql) -> Iterator[None]:
    """The sessions of the service begin in a time zone far away; it sets its own."""
    sql.execute("alter role historical_sync_service set timezone = 'Pacific/Kiritimati'")
    yield
    sql.execute("alter role historical_sync_service reset timezone")


def test_each_day_of_the_range_tells_what_is_stored_and_what_was_counted(agency: Agency) -> None:
    checked = datetime(2026, 8, 1, 10, 0, 0, 250, UTC)
    agency.has(at(JULY_1), 2)
    agency.has(at(JULY_1 + DAY, 0), 3)
    agency.has(at(JULY_1 + 2 * DAY, 23), 5)
    agency.is_counted(JULY_1, 2, checked - DAY)
    agency.is_counted(JULY_1 + DAY, 7, checked)
    agency.is_counted(JULY_4, 1, checked + DAY)  # beyond the range
    agency.has(at(JULY_1), agency_id=add_agency(agency.sql))
    assert agency.coverage("date_from=2026-06-30&date_to=2026-07-03") == {
        "date_from": "2026-06-30",
        "date_to": "2026-07-03",
        "days": [
            {"date": "2026-06-30", "stored": 0, "source": None, "state": "unverified"},
            {"date": "2026-07-01", "stored": 2, "source": 2, "state": "complete"},
            {"date": "2026-07-02", "stored": 3, "source": 7, "state": "missing"},
            {"date": "2026-07-03", "stored": 5, "source": None, "state": "unverified"},
        ],
        "totals": {"stored": 10, "source": 9, "missing": 4},
        "checked_at": "2026-08-01T10:00:00.000250Z",
    }


def test_more_calls_than_counted_are_complete_and_make_up_for_no_other_day(agency: Agency) -> None:
    agency.has(at(JULY_1), 9)
    agency.is_counted(JULY_1, 5, at(JULY_4))
    agency.is_counted(JULY_1 + DAY, 3, at(JULY_4))
    body = agency.coverage("date_from=2026-07-01&date_to=2026-07-02")
    assert [day["state"] for day in body["days"]] == ["complete", "missing"]
    assert body["totals"] == {"stored": 9, "source": 8, "missing": 3}


@pytest.mark.parametrize("date_from", [None, at(JULY_1, 6)])
def test_a_day_that_a_counted_job_covers_has_no_calls_where_none_were_counted(
    agency: Agency, date_from: datetime | None
) -> None:
    agency.has_counted_job(date_from, at(JULY_1 + 2 * DAY, 0), at(JULY_4, 9))
    agency.has_counted_job(at(JULY_4), at(JULY_4, 13), at(JULY_4, 8))
    body = agency.coverage("date_from=2026-06-30&date_to=2026-07-04")
    before = "unverified" if date_from else "complete"
    assert [day["state"] for day in body["days"]] == [before, "complete", "complete", "unverified", "complete"]
    assert {day["source"] for day in body["days"] if day["state"] == "complete"} == {0}
    assert body["checked_at"] == "2026-07-04T09:00:00Z"


@pytest.mark.usefixtures("far_away")
def test_days_are_those_of_utc(agency: Agency) -> None:
    agency.has(datetime(2026, 7, 1, 23, 59, 59, 999999, UTC))
    agency.has(datetime(2026, 7, 2, 0, 0, tzinfo=UTC))
    body = agency.coverage("date_from=2026-07-01&date_to=2026-07-02")
    assert [day["stored"] for day in body["days"]] == [1, 1]


def test_without_dates_it_goes_from_the_first_day_with_a_call_to_today(agency: Agency) -> None:
    today = datetime.now(UTC).date()
    first = today - 9 * DAY
    agency.has(at(first))
    days = agency.coverage()["days"]
    assert [day["date"] for day in days] in [
        [str(first + n * DAY) for n in range(number)]
        for number in (10, 11)  # midnight may pass
    ]


def test_a_day_on_which_all_calls_are_missing_is_a_first_day_too(agency: Agency) -> None:
    today = datetime.now(UTC).date()
    agency.is_counted(today - 5 * DAY, 2, at(today))
    agency.is_counted(today - 9 * DAY, 0, at(today))
    agency.has(at(today - DAY))
    assert agency.coverage()["date_from"] == str(today - 5 * DAY)


def test_without_any_call_it_is_today_alone(agency: Agency) -> None:
    body = agency.coverage()
    [day] = body["days"]
    assert day == {"date": body["date_from"], "stored": 0, "source": None, "state": "unverified"}
    assert (body["date_from"], body["checked_at"]) == (body["date_to"], None)
    assert body["totals"] == {"stored": 0, "source": 0, "missing": 0}


def test_a_first_call_long_ago_makes_it_no_longer_than_may_be_asked_for(agency: Agency) -> None:
    agency.has(datetime(1, 1, 1, tzinfo=UTC))
    agency.sql.execute("update public.calls set created_at = '-infinity'")
    body = agency.coverage("date_to=2026-07-04")
    assert len(body["days"]) == 1
    agency.has(datetime(1, 1, 1, tzinfo=UTC))
    assert len(agency.coverage("date_to=2026-07-04")["days"]) == 1100
    assert len(agency.coverage("date_to=0001-01-03")["days"]) == 3


@pytest.mark.parametrize(
    ("query", "days"),
    [
        ("date_from=2026-07-01&date_to=2026-07-01", ("2026-07-01", "2026-07-01")),
        ("date_from=2026-07-01T23:59:59Z&date_to=2026-07-02T00:00:00Z", ("2026-07-01", "2026-07-02")),
        ("date_from=2026-07-01T23:30:00-05:00&date_to=20260703", ("2026-07-02", "2026-07-03")),
        ("date_from=2023-06-30&date_to=2026-07-03", ("2023-06-30", "2026-07-03")),  # 1,100 days
        ("date_from=9999-12-31&date_to=9999-12-31", ("9999-12-31", "9999-12-31")),
        ("date_from=0001-01-01&date_to=0001-01-02", ("0001-01-01", "0001-01-02")),
        ("date_to=0001-01-01", ("0001-01-01", "0001-01-01")),
        ("date_to=9999-12-31", ("9999-12-31", "9999-12-31")),
    ],
)
def test_a_time_is_cut_off_and_both_days_belong_to_the_range(agency: Agency, query: str, days: tuple[str, str]) -> None:
    body = agency.coverage(query)
    assert (body["date_from"], body["date_to"]) == days
    assert (body["days"][0]["date"], body["days"][-1]["date"]) == days


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("date_from=2026-07-02&date_to=2026-07-01", "date_from"),
        ("date_from=9999-12-31", "date_from"),
        ("date_from=2023-06-29&date_to=2026-07-03", "date_from"),  # 1,101 days
        ("date_from=0001-01-01&date_to=9999-12-31", "date_from"),
        ("date_from=1990-01-01", "date_from"),
        ("date_from=", "date_from"),
        ("date_to=yesterday", "date_to"),
        ("date_to=2026-02-30", "date_to"),
        ("date_from=2026-07-01%00", "date_from"),
        ("dateFrom=2026-07-01", "dateFrom"),
        ("job_id=5fdbd84f-7176-4304-a02b-0f0a6db53d61", "job_id"),
        ("date_to=2026-07-01&date_to=2026-07-02", "date_to"),
    ],
)
def test_a_range_that_is_none_is_refused_by_name(agency: Agency, query: str, field: str) -> None:
    response = agency.client.get(f"{COVERAGE}?{query}", headers=agency.bearer)
    assert_error(response, 400, "invalid_fields", fields=[field])


def test_what_is_known_already_is_a_304_until_a_call_arrives(agency: Agency) -> None:
    agency.has(at(JULY_1))
    url = f"{COVERAGE}?date_from=2026-07-01&date_to=2026-07-02"
    etag = agency.client.get(url, headers=agency.bearer).headers["ETag"]
    known = {**agency.bearer, "If-None-Match": etag}
    assert (agency.client.get(url, headers=known).status_code, agency.client.get(url, headers=known).data) == (304, b"")
    agency.has(at(JULY_1))
    news = agency.client.get(url, headers=known)
    assert (news.status_code, news.get_json()["days"][0]["stored"]) == (200, 2)
    assert news.headers["Cache-Control"] == "private, no-cache"
    assert "Authorization" in news.headers["Vary"]


def test_calls_are_counted_in_the_index_alone(agency: Agency) -> None:
    sql = agency.sql
    # What is not yet safe on disk is not yet known to be visible to all.
    sql.execute("set synchronous_commit = on")
    sql.execute(
        """
        insert into public.calls (agency_id, ultravox_call_id, source, created_at, data)
        select %s, i::text, 'historical_sync', '2026-07-01 00:00:00+00'::timestamptz + i * interval '3 minutes',
            jsonb_build_object('transcript', repeat('well ', 120))
        from generate_series(1, 20000) as i
        """,
        [agency.id],
    )
    sql.execute("vacuum analyze public.calls")
    [function] = sql.execute("select prosrc from pg_proc where oid = 'historical_sync.stored_days'::regproc").fetchall()
    query = (
        re.sub(r"p_agency_id", f"'{agency.id}'::uuid", function["prosrc"])
        .replace("p_from", "'2026-07-10'::timestamptz")
        .replace("p_to", "'2026-08-10'::timestamptz")
    )
    [plan] = sql.execute(f"explain (format json) {query}").fetchall()
    assert '"Index Only Scan"' in json.dumps(plan)
    assert '"calls_newest_by_agency"' in json.dumps(plan)
    assert "Seq Scan" not in json.dumps(plan)
