"""Servers of the tests' own, for roles belong to all databases of a server."""

from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster
from tests.support.database import FAST, own_postgres


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server of this module's own: roles belong to all databases of a server."""
    with own_postgres(**FAST) as postgres:
        yield postgres.get_uri()


@pytest.fixture
def cluster(server: str) -> Iterator[Cluster]:
    cluster = Cluster(server)
    yield cluster
    cluster.clear()
