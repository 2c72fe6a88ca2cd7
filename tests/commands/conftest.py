from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.commands import Operator
from tests.support.database import login_url
from tests.support.processing import CREDENTIALS_KEY, Processors


@pytest.fixture
def operator(database_url: str) -> Operator:
    """Somebody with the processor's environment, and an Ultravox that is away."""
    return Operator(
        {
            "PROCESSOR_DATABASE_URL": login_url(database_url, "historical_sync_processor"),
            "CREDENTIALS_KEY": CREDENTIALS_KEY,
            "ULTRAVOX_API_URL": "http://127.0.0.1:1",
            "DATABASE_POOL_TIMEOUT": "1",
        }
    )


@pytest.fixture
def processors(database_url: str, tmp_path: Path) -> Iterator[Processors]:
    with closing(Processors(database_url, tmp_path)) as processors:
        yield processors
