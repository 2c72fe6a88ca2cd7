import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from tests.support.commands import Operator
from tests.support.database import Sql, add_agency, jobs_of
from tests.support.processing import add_job, agency_with_key

START = "/functions/v1/start-historical-sync"


class TestList:
    def test_it_shows_each_agency_with_its_key_and_its_last_job(self, operator: Operator, sql: Sql) -> None:
        bare, busy = add_agency(sql, "Bare"), agency_with_key(sql, "key")
        sql.execute("update public.agencies set name = 'Busy 忙' where id = %s", [busy])
        for created in ("2026-01-02 03:04", "2026-01-03 05:06"):
            job_id = add_job(sql, busy)
            query = "update public.historical_sync_jobs set created_at = %s, status = 'cancelled' where id = %s"
            sql.execute(query, [f"{created}+00", job_id])
        query = "update public.historical_sync_jobs set status = 'failed', completed_at = %s where id = %s"
        sql.execute(query, [datetime(2026, 1, 4, 23, 59, tzinfo=UTC), job_id])

        listed = operator.run("list-agencies")

        assert listed.exit_code == 0
        assert listed.stdout.splitlines() == [
            f"{'ID':36}  NAME     KEY  LAST JOB  WHEN (UTC)",
            f"{bare}  Bare     no   none",
            f"{busy}  Busy 忙  yes  failed    2026-01-04 23:59",
        ]

    def test_an_active_job_comes_before_a_newer_one(self, operator: Operator, sql: Sql) -> None:
        agency_id = add_agency(sql)
        add_job(sql, agency_id)
        sql.execute("update public.historical_sync_jobs set status = 'completed'")
        active = add_job(sql, agency_id)
        sql.execute("update public.historical_sync_jobs set created_at = '2020-01-01+00' where id = %s", [active])
        assert "  pending   2020-01-01 00:00" in operator.run("list-agencies").stdout

    def test_a_name_does_nothing_to_the_terminal(self, operator: Operator, sql: Sql) -> None:
        add_agency(sql, "\x1b[2Jgone\nagain")
        [_, line] = operator.run("list-agencies").stdout.splitlines()
        assert "�[2Jgone�again  no" in line

    def test_without_an_agency_it_says_so(self, operator: Operator) -> None:
        listed = operator.run("list-agencies")
        assert (listed.exit_code, listed.stdout) == (0, "")
        assert "There are no agencies yet" in listed.stderr


class TestStart:
    def test_it_creates_the_job_that_the_function_creates(
        self, operator: Operator, sql: Sql, client: FlaskClient, bearer: dict[str, str]
    ) -> None:
        dates = {"date_from": "2026-01-01", "date_to": "2026-02-01T12:00+02:00"}
        client.post(START, headers=bearer, json=dates)
        ours = add_agency(sql)
        options = (f"--{name.replace('_', '-')}={date}" for name, date in dates.items())
        started = operator.run("start-historical-sync", ours, *options)

        by_user, by_operator = jobs_of(sql)
        assert started.exit_code == 0
        assert json.loads(started.stdout) == {"job_id": str(by_operator["id"]), "status": "pending"}
        assert (by_operator["agency_id"], by_operator["requested_by"]) == (ours, None)
        for bound in dates:
            assert by_operator[bound] == by_user[bound]

    def test_without_dates_it_asks_for_everything_until_now(self, operator: Operator, sql: Sql) -> None:
        before = datetime.now(UTC)
        assert operator.run("start-historical-sync", add_agency(sql)).exit_code == 0
        [job] = jobs_of(sql)
        assert job["date_from"] is None
        assert before <= job["date_to"] <= datetime.now(UTC)

    def test_a_conflict_is_the_answer_of_the_function_and_a_failure(
        self, operator: Operator, sql: Sql, client: FlaskClient, bearer: dict[str, str], agency_id: object
    ) -> None:
        assert client.post(START, headers=bearer).status_code == 200
        conflict = operator.run("start-historical-sync", agency_id)
        assert conflict.exit_code == 1
        assert json.loads(conflict.stdout) == client.post(START, headers=bearer).json
        assert len(jobs_of(sql)) == 1

    @pytest.mark.parametrize(
        ("options", "fault"),
        [
            (["--date-from=yesterday"], "--date-from must be an ISO 8601 date or time"),
            (["--date-from="], "--date-from must be an ISO 8601 date or time"),
            (["--date-to=2026-13-01"], "--date-to must be an ISO 8601 date or time"),
            (["--date-from=2026-02-01", "--date-to=2026-01-01"], "--date-from must be before --date-to"),
            (["--date-from=2999-01-01"], "--date-from must be in the past"),
        ],
    )
    def test_a_date_that_the_function_refuses_starts_nothing(
        self, operator: Operator, sql: Sql, options: list[str], fault: str
    ) -> None:
        refused = operator.run("start-historical-sync", add_agency(sql), *options)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert fault in refused.stderr
        assert jobs_of(sql) == []

    def test_an_agency_that_there_is_not_is_told(self, operator: Operator, sql: Sql) -> None:
        unknown = operator.run("start-historical-sync", uuid4())
        assert (unknown.exit_code, unknown.stdout) == (1, "")
        assert "there is no agency" in unknown.stderr
        assert jobs_of(sql) == []
