import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import urllib3
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from psycopg.rows import dict_row

from tests.support.database import Sql, add_agency, login_url, url_with
from tests.support.serving import Serve, children
from tests.support.waiting import wait_until

START = "/functions/v1/start-historical-sync"


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_the_database_knows_is_told(client: FlaskClient, bearer: dict[str, str], sql: Sql) -> None:
    client.post(START, headers=bearer)
    sql.execute(
        """
        update public.historical_sync_jobs
        set created_at = now() - interval '90 seconds', imported_calls = 7, skipped_calls = 2, failed_calls = 1
        """
    )
    sql.execute('select historical_sync.count_ultravox_requests(\'{"200": 3, "429": 1}\')')
    sql.execute("select historical_sync.count_ultravox_requests('{\"200\": 2}')")

    told = samples(client.get("/metrics").text)

    assert told["historical_sync_jobs", (("status", "pending"),)] == 1
    assert told["historical_sync_jobs", (("status", "completed"),)] == 0
    assert told["historical_sync_calls", (("outcome", "imported"),)] == 7
    assert told["historical_sync_calls", (("outcome", "failed"),)] == 1
    assert 90 <= told["historical_sync_oldest_pending_job_seconds", ()] < 150
    assert told["historical_sync_database_up", ()] == 1
    requests = {labels: value for (name, labels), value in told.items() if name == "historical_sync_ultravox_requests"}
    assert requests[("status", "429"),] >= 1
    assert requests[("status", "200"),] >= 5


def test_what_is_missing_and_what_is_not_verified_is_told_over_all_agencies(client: FlaskClient, sql: Sql) -> None:
    for day, counted, missing in (("2026-07-01", 5, 3), ("2026-07-02", 5, 0), ("2026-07-03", None, 0)):
        for name in ("One", "Another"):
            sql.execute(
                """
                insert into historical_sync.source_days
                    (agency_id, day, source_calls, counted, counted_at, missing_calls)
                values (%s, %s, %s, %s, %s, %s)
                """,
                [add_agency(sql, name), day, counted, "(,)" if counted else "empty", counted and "now", missing],
            )
    told = samples(client.get("/metrics").text)
    assert told["historical_sync_missing_calls", ()] == 6
    assert told["historical_sync_unverified_days", ()] == 2


def test_without_a_database_the_rest_is_still_told(make_app: Callable[..., Flask]) -> None:
    app = make_app(database_url="postgresql://nobody@127.0.0.1:1/none", database_pool_timeout=0.2)
    response = app.test_client().get("/metrics")

    assert response.status_code == 200
    assert samples(response.text)["historical_sync_database_up", ()] == 0


def test_a_lock_on_the_jobs_hides_the_figures_and_is_no_outage(
    make_app: Callable[..., Flask], database_url: str, sql: Sql
) -> None:
    url = url_with(login_url(database_url, "historical_sync_service"), statement_timeout="500ms")
    with sql.transaction():
        sql.execute("lock table public.historical_sync_jobs in access exclusive mode")
        told = samples(make_app(database_url=url).test_client().get("/metrics").text)

    assert told["historical_sync_database_up", ()] == 1
    assert not any(name == "historical_sync_jobs" for name, _ in told)


def test_both_addresses_of_a_route_are_one_and_unknown_paths_are_another(client: FlaskClient) -> None:
    def count(route: str, status: str) -> float:
        labels = (("method", "POST"), ("route", route), ("status", status))
        name = "historical_sync_http_request_duration_seconds_count"
        return samples(client.get("/metrics").text).get((name, labels), 0)

    before, unknown = count("/start-historical-sync", "401"), count("unknown", "404")
    client.post(START)
    client.post("/start-historical-sync")
    client.post("/made-up-by-a-caller")

    assert count("/start-historical-sync", "401") == before + 2
    assert count("unknown", "404") == unknown + 1


def test_the_counts_are_right_across_all_workers_and_survive_a_worker(serve: Serve) -> None:
    with serve(WEB_WORKERS="2") as server:
        for _ in range(40):
            # A connection of its own each time, for the kernel to spread over the workers.
            urllib3.request("POST", server.url + START, headers={"Connection": "close"})
        os.kill(next(iter(children(server.process.pid))), signal.SIGKILL)
        text = urllib3.request("GET", server.url + "/metrics").data.decode()

    labels = (("method", "POST"), ("route", "/start-historical-sync"), ("status", "401"))
    assert samples(text)["historical_sync_http_request_duration_seconds_count", labels] == 40


def has_ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_what_a_killed_server_has_counted_is_removed_by_the_next_one_and_what_a_living_one_counts_is_not(
    serve: Serve, tmp_path: Path
) -> None:
    def folders() -> set[Path]:
        return set(tmp_path.glob("historical-sync-*"))

    with serve() as killed:
        workers = psutil.Process(killed.process.pid).children()
    wait_until(lambda: all(map(has_ended, workers)))
    abandoned = folders()
    with serve():
        living = folders()
        assert (len(abandoned), len(living), abandoned & living) == (1, 1, set())
        with serve() as other:
            assert len(folders()) == 2
            assert living < folders()
            other.process.terminate()
            other.process.wait()
            assert folders() == living


def test_jobs_and_calls_are_told_as_they_are_whatever_becomes_of_the_jobs(client: FlaskClient, sql: Sql) -> None:
    def told() -> dict[str, float]:
        found = samples(client.get("/metrics").text)
        names = ("historical_sync_jobs", "historical_sync_calls")
        return {labels[0][1]: value for (name, labels), value in found.items() if name in names}

    def there() -> dict[str, float]:
        jobs = sql.execute("select status::text, count(*) from public.historical_sync_jobs group by status")
        statuses = ("pending", "in_progress", "completed", "failed", "cancelled")
        [calls] = sql.execute(
            """
            select coalesce(sum(imported_calls), 0)::float8 as imported,
                coalesce(sum(skipped_calls), 0)::float8 as skipped,
                coalesce(sum(failed_calls), 0)::float8 as failed
            from public.historical_sync_jobs
            """
        )
        return dict.fromkeys(statuses, 0) | {row["status"]: row["count"] for row in jobs} | calls

    agencies = [add_agency(sql, "Some") for _ in range(60)]
    for ended in ("completed", "failed", "cancelled"):
        sql.execute(
            """
            insert into public.historical_sync_jobs (agency_id, date_to, status, imported_calls, skipped_calls)
            select id, now(), %s, 3, 1 from unnest(%s) as id
            """,
            [ended, agencies],
        )
    assert told() == there()
    for change in (
        "update public.historical_sync_jobs set status = 'pending' where status = 'failed'",
        "update public.historical_sync_jobs set status = 'in_progress', imported_calls = 9 where status = 'pending'",
        "update public.historical_sync_jobs set status = 'completed', failed_calls = 2 where status = 'in_progress'",
        "update public.historical_sync_jobs set imported_calls = imported_calls + 1 where status = 'cancelled'",
        "delete from public.historical_sync_jobs where status = 'cancelled'",
    ):
        sql.execute(change)
        assert told() == there()
    assert sql.execute("select from historical_sync.finished_jobs").rowcount <= 100 + 1
    sql.execute("delete from public.agencies")
    assert told() == there()


def test_jobs_that_are_cut_off_at_once_are_no_longer_counted(
    own_database_url: str, make_app: Callable[..., Flask]
) -> None:
    app = make_app(database_url=login_url(own_database_url, "historical_sync_service"))
    with psycopg.connect(own_database_url, autocommit=True, row_factory=dict_row) as conn:
        conn.execute(
            "insert into public.historical_sync_jobs (agency_id, date_to, status) values (%s, now(), 'failed')",
            [add_agency(conn)],
        )
        failed = ("historical_sync_jobs", (("status", "failed"),))
        assert samples(app.test_client().get("/metrics").text)[failed] == 1
        conn.execute("truncate public.historical_sync_jobs cascade")
        assert samples(app.test_client().get("/metrics").text)[failed] == 0
