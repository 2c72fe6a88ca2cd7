"""A running service with its page, its processors and a stand-in Ultravox, for a test that looks at it in a browser."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import urllib3

from service.local.demo import DEMO_APP, demo_token
from service.local.demo_calls import Call, demo_calls
from service.local.standin import Faults
from tests.clients.pages import Page
from tests.support.database import Sql
from tests.support.processing import KEY, Process, Processors
from tests.support.serving import Server
from tests.support.standin import HeldStandin
from tests.support.tokens import SECRET

MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
PAGE_SIZE = 10  # so that a sync of a few calls has pages to be held at
OpenPage = Callable[..., Page]
# Of the user whom a SupabaseAuth knows.
EMAIL, PASSWORD = "ada@agency.example", "correct horse battery staple"
# The application with the demo's sign-in, which needs no Supabase.
DEMO = {"app": DEMO_APP, "SYNC_PAGE": "on", "SUPABASE_URL": ""}


def some_calls() -> list[Call]:
    """120 calls of the month up to today."""
    return demo_calls(120, seed=1, until=MIDNIGHT, months=1)


@dataclass
class Installation:
    """What a test does to it from the outside, while it looks at the page."""

    url: str
    sql: Sql
    ultravox: HeldStandin
    processors: Processors
    serve: Callable[..., AbstractContextManager[Server]]

    def process(self, **environment: str) -> Process:
        """Start a processor, which bears whatever the stand-in makes it wait for."""
        return self.processors.start(self.ultravox, "--watch", **{"ULTRAVOX_TIMEOUT": "300", **environment})

    def ask(self, name: str, **body: Any) -> Any:
        """Call a function as the demo user does from elsewhere."""
        headers = {"Authorization": f"Bearer {demo_token(SECRET)}"}
        return urllib3.request("POST", f"{self.url}/functions/v1/{name}", headers=headers, json=body).json()

    def put_call(self, days_ago: int, call_id: str, **more: object) -> str:
        """Let there be one more call at Ultravox, at noon of a day; return the day."""
        created = MIDNIGHT - timedelta(days=days_ago) + timedelta(hours=12)
        self.ultravox.put_call(KEY, {"callId": call_id, "created": created.isoformat(), **more})
        return created.date().isoformat()

    def stored_days(self) -> dict[str, int]:
        rows = self.sql.execute(
            "select (created_at at time zone 'UTC')::date as day, count(*) from public.calls group by 1"
        )
        return {row["day"].isoformat(): row["count"] for row in rows}

    def job(self) -> dict[str, Any]:
        """The newest one."""
        rows = self.sql.execute("select * from public.historical_sync_jobs order by created_at desc limit 1")
        return rows.fetchall()[0]


def standin_of(calls: list[Call]) -> HeldStandin:
    return HeldStandin({KEY: calls}, faults=Faults(max_page_size=PAGE_SIZE))
