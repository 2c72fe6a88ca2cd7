"""The same import with dlt, as its documentation has it: a REST source into Postgres. Has an environment of its own.

`python dlt_import.py API_URL SOCKET_FOLDER WINDOWS`. With several windows, each is a resource of its own that dlt
extracts beside the others. Nested values stay JSON, as with us, instead of becoming tables of their own.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

WINDOWS = int(sys.argv[3])
# Before dlt is imported. What its documentation advises for speed: as many threads as there are pages in flight, and
# loads beside each other.
os.environ |= {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "EXTRACT__WORKERS": str(WINDOWS),
    "EXTRACT__MAX_PARALLEL_ITEMS": str(WINDOWS),
    "LOAD__WORKERS": "4",
    # dlt insists on a host and a password; the folder of the socket wins.
    "CREDENTIALS": f"postgresql://postgres:none@localhost/postgres?host={sys.argv[2]}",
}

import dlt
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.paginators import JSONLinkPaginator

UNTIL, SPAN = datetime(2026, 10, 31, tzinfo=UTC), timedelta(days=120)


def pages(client: RESTClient, first: datetime, last: datetime) -> Iterator[Any]:
    bounds = {"fromDate": first.isoformat(), "toDate": last.isoformat()}
    yield from client.paginate("/api/calls", params={"sort": "-created", "pageSize": 100, **bounds})


@dlt.source(max_table_nesting=0)
def ultravox(url: str) -> Iterator[Any]:
    client = RESTClient(url, headers={"X-API-Key": "key"}, paginator=JSONLinkPaginator("next"), data_selector="results")
    width = SPAN / WINDOWS
    for number in range(WINDOWS):
        newest = UNTIL - number * width
        oldest = newest - width
        resource = dlt.resource(
            pages, name=f"window_{number}", table_name="calls", primary_key="callId", parallelized=WINDOWS > 1
        )
        yield resource(client, oldest, newest - timedelta(microseconds=1))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "bench", destination=dlt.destinations.postgres(), dataset_name="dlt_bench", pipelines_dir=folder
        )
        pipeline.run(ultravox(sys.argv[1]))
        with pipeline.sql_client() as client, client.execute_query("select count(*) from calls") as found:
            sys.stdout.write(f"{found.fetchone()[0]}\n")
