"""Databases as the first released version left them, to upgrade and to go on with: tests/migrations/data/ made them."""

from collections.abc import Callable
from uuid import UUID

from service.local.demo_calls import Call
from service.migrate.preflight import ROLES
from tests.support.catalog import connect
from tests.support.importing import calls
from tests.support.paths import ROOT

DATA = ROOT / "tests" / "migrations" / "data"

# Under this key the agency IN_MID_IMPORT has the API key tests.support.importing.KEY.
CREDENTIALS_KEY = "cmVsZWFzZWQtcmVsZWFzZWQtcmVsZWFzZWQtcmVsZWE="
# Agencies of `released`, each with one job, but for the first, which has a completed and a failed one. The job in
# mid-import has three windows: the oldest is finished, the others are at a cursor. Its lease has run out.
FINISHED, CANCELLED, INFINITE, PREHISTORIC, IN_MID_IMPORT = (UUID(int=number) for number in range(1, 6))
USER = UUID(int=11)  # of IN_MID_IMPORT


def source_calls() -> list[Call]:
    """Return the calls that Ultravox has of each agency whose jobs were worked on; pages were of three."""
    return calls(40)


def load_released(create_database: Callable[..., str], name: str = "released", before: str = "") -> str:
    """Load a database of the released version into a new one, which is not migrated, and return its URL.

    `before` is executed first, for what a dump has not.
    `released` was empty before it was migrated, `released_project` was a project with an original table of jobs.
    """
    url = create_database()
    with connect(url) as conn:
        # Roles belong to the server, not to a dump of one database.
        for role in (*ROLES, "anon", "authenticated"):
            conn.execute(
                f"do $$ begin create role {role}; exception when duplicate_object or unique_violation then null; end $$"
            )
        conn.execute(before)
        conn.execute((DATA / f"{name}.sql").read_bytes())
    return url
