"""GET /metrics for Prometheus: this service's requests over all gunicorn workers, and what the database knows.

The workers share their counts through files (prometheus-client's multiprocess mode); gunicorn.conf.py names the
folder. What the processors do is counted in the database, whatever machine they run on.
"""

import os
import time
from collections.abc import Iterator

from flask import Blueprint, Response, current_app, g, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from service.database import Database
from service.errors import DatabaseBusyError, DatabaseError
from service.jobs import monitoring
from service.web.requests import database

# A load of a second and more is seen; three more numbers for each request are not worth their time.
NOTE_POOL_SECONDS = 1.0
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
DESCRIPTIONS = {
    "jobs": ("Jobs by status.", "status"),
    "calls": ("Calls of all jobs by outcome.", "outcome"),
    "ultravox_requests": ("Requests to the Ultravox API by status, 0 for no answer.", "status"),
    "missing_calls": ("Calls that Ultravox counted and that were not there when an import ended.", None),
    "unverified_days": ("Days with imported calls that Ultravox has never counted, over all agencies.", None),
    "oldest_pending_job_seconds": ("Age of the job that has been pending the longest.", None),
}

REQUESTS = Histogram(
    "historical_sync_http_request_duration_seconds",
    "Requests by route and status.",
    ["route", "method", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
POOL = Gauge(
    "historical_sync_pool_connections",
    "Connections of the web service's pools, and requests that wait for one.",
    ["state"],
    multiprocess_mode="livesum",
)

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
def metrics() -> Response:
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    from_database = CollectorRegistry()
    from_database.register(DatabaseCollector(database()))
    body = generate_latest(registry) + generate_latest(from_database)
    return Response(body, content_type=CONTENT_TYPE_LATEST)


@blueprint.after_app_request
def observe(response: Response) -> Response:
    """Count a request, and note now and then how the pool is used."""
    # Both addresses of a function are one route, and no caller makes up new ones.
    route = request.url_rule.rule.removeprefix("/functions/v1") if request.url_rule else "unknown"
    method = request.method if request.method in METHODS else "other"
    REQUESTS.labels(route, method, str(response.status_code)).observe(time.perf_counter() - g.started)
    _note_pool()
    return response


def _note_pool() -> None:
    now = time.monotonic()
    if now < current_app.extensions.get("pool_noted", 0.0) + NOTE_POOL_SECONDS:
        return
    current_app.extensions["pool_noted"] = now
    for state, connections in database().count_connections().items():
        POOL.labels(state).set(connections)


class DatabaseCollector:
    """Asks the database when Prometheus asks."""

    def __init__(self, pool: Database) -> None:
        self._database = pool

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("historical_sync_database_up", "Whether the database answers.")
        families = {}
        try:
            with self._database.connection() as conn:
                rows = monitoring.metrics(conn)
        except DatabaseError as error:
            # Without the figures: somebody holds a lock on the jobs. Who watches for outages is not to be woken.
            up.add_metric([], isinstance(error, DatabaseBusyError))
            yield up
            return
        up.add_metric([], 1)
        yield up
        for name, (text, label) in DESCRIPTIONS.items():
            families[name] = GaugeMetricFamily(f"historical_sync_{name}", text, labels=[label] if label else [])
        for row in rows:
            families[row["metric"]].add_metric([row["label"]] if row["label"] else [], row["value"])
        yield from families.values()
