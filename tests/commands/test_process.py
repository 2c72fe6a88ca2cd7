"""How process-historical-sync ends where it cannot work. tests/processor is about its work."""

from collections.abc import Callable

import pytest

from tests.support.processing import Processors


def test_it_needs_no_source_of_keys_for_tokens_and_no_other_database(processors: Processors) -> None:
    done = processors.run(None, DATABASE_URL="", SUPABASE_JWT_SECRET="")
    assert done.outcome == {"processed": 0, "message": "No pending jobs"}


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"CREDENTIALS_KEY": "hunter2"}, "CREDENTIALS_KEY is not a comma-separated list of Fernet keys."),
        (
            {"PROCESSOR_DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/none"},
            "PROCESSOR_DATABASE_URL names a server that cannot be reached",
        ),
        ({"PROCESSOR_DATABASE_URL": ""}, "set PROCESSOR_DATABASE_URL to the URL of historical_sync_processor"),
    ],
    ids=["bad configuration", "no database", "the web service's role"],
)
def test_a_pass_that_cannot_work_fails_and_its_last_line_says_what_to_look_at(
    processors: Processors, environment: dict[str, str], told: str
) -> None:
    failed = processors.start(None, DATABASE_POOL_TIMEOUT="0.5", **environment)
    assert failed.wait() == 1
    assert failed.outcome.keys() == {"error"}
    assert told in failed.outcome["error"]
    assert "hunter2" not in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_database_without_the_functions_is_to_be_migrated(
    processors: Processors, create_database: Callable[..., str]
) -> None:
    failed = processors.start(None, PROCESSOR_DATABASE_URL=create_database())
    assert failed.wait() == 1
    assert "PROCESSOR_DATABASE_URL" in failed.outcome["error"]
    assert "make migrate" in failed.outcome["error"]
