"""Tables that a project has already: adopted with all that is in them, or refused before anything is changed."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from service.migrate import MigrationError, migrate
from service.migrate.tables import TABLES
from service.settings import Settings
from tests.support.catalog import connect, facts
from tests.support.database import Sql, login_url
from tests.support.importing import FROM, call_at, importing
from tests.support.projects import AGENCY, ORIGINAL, SUPABASE

# Tables of calls as projects have them, each with a row of its own.
WITH_OWN_KEY = """
    create table public.calls (
        id uuid primary key default gen_random_uuid(),
        agency_id uuid not null references public.agencies (id),
        "externalId" text unique,
        direction text not null default 'inbound' check (direction in ('inbound', 'outbound')),
        created_at timestamptz not null default now(),
        metadata jsonb,
        duration_ms integer generated always as (1000 * 2) stored
    );
    alter table public.calls enable row level security;
    create policy own on public.calls for select using (true);
    insert into public.calls (agency_id, "externalId") select id, 'theirs' from public.agencies;
"""
WITHOUT_ANY_OF_OURS = """
    create table public.calls (
        number bigint generated always as identity primary key, caller varchar(20) not null default ''
    );
    insert into public.calls (caller) values ('theirs'), ('theirs too');
"""
WITH_A_PLAIN_DURATION = """
    create table public.calls (
        id serial primary key, agency_id uuid, started timestamp, summary varchar,
        duration_seconds numeric not null default 0
    );
    insert into public.calls (agency_id, duration_seconds, summary) select id, 12, 'theirs' from public.agencies;
"""
WITH_A_GENERATED_DURATION = """
    create table public.calls (
        id serial primary key, joined_at timestamptz, ended_at timestamptz,
        duration_seconds numeric generated always as (round(extract(epoch from ended_at - joined_at))) stored
    );
    insert into public.calls default values;
"""
WITH_CALLS_OF_ULTRAVOX = """
    create table public.calls (
        ultravox_call_id varchar not null, agency_id uuid not null, summary text, source text, fetched_at timestamptz
    );
    insert into public.calls (ultravox_call_id, agency_id, summary)
    select call_id, id, 'theirs' from public.agencies cross join unnest(array['call-0', 'elsewhere']) as call_id;
"""
ADOPTABLE = {
    "its own key": WITH_OWN_KEY,
    "none of our columns": WITHOUT_ANY_OF_OURS,
    "a plain duration": WITH_A_PLAIN_DURATION,
    "a generated duration": WITH_A_GENERATED_DURATION,
    "a key over the two": WITH_CALLS_OF_ULTRAVOX
    + "alter table public.calls add unique (agency_id, ultravox_call_id);"
    + "alter table public.calls alter column fetched_at set default now(); update public.calls set fetched_at = now();",
    "calls of ultravox": WITH_CALLS_OF_ULTRAVOX + "alter table public.calls drop column fetched_at;",
}


@pytest.fixture(params=ADOPTABLE.values(), ids=list(ADOPTABLE))
def project_url(request: pytest.FixtureRequest, template: str, create_database: Callable[..., str]) -> str:
    """A project with an agency and a table of calls of its own."""
    url = create_database()
    with connect(url) as conn:
        conn.execute(SUPABASE + request.param)
    return url


def rows_of_theirs(conn: Sql, columns: list[str]) -> list[dict[str, Any]]:
    names = ", ".join(f'"{column}"' for column in columns)
    return conn.execute(f"select {names} from public.calls where source is distinct from 'historical_sync'").fetchall()


def test_calls_are_imported_into_a_table_of_the_projects_own(
    project_url: str, make_settings: Callable[..., Settings]
) -> None:
    with connect(project_url) as conn:
        migrate(project_url)
        settings = make_settings(processor_database_url=login_url(project_url, "historical_sync_processor"))
        with importing(conn, UUID(AGENCY), settings) as job:
            listed = [call_at(FROM + timedelta(minutes=number), f"call-{number}") for number in range(7)]
            ended = (FROM + timedelta(seconds=90)).isoformat()
            job.put(*listed, call_at(FROM, "ended", joined=FROM.isoformat(), ended=ended, billedDuration="90s"))
            job.run()
            assert job.counts() == (8, 8, 0, 0)
            job.put({**listed[3], "summary": "later"})
            job.run()
            assert job.counts() == (8, 1, 7, 0)
            rows = job.rows()

    assert {name: row["data"]["callId"] for name, row in rows.items() if row["data"]} == {
        name: name for name in [*(f"call-{number}" for number in range(7)), "ended"]
    }
    assert (rows["call-3"]["summary"], rows["call-3"]["source"]) == ("later", "historical_sync")
    assert (rows["ended"]["duration_seconds"], rows["ended"]["billed_seconds"]) == (90, 90)


def test_the_projects_own_rows_and_columns_stay_as_they_are(project_url: str) -> None:
    with connect(project_url) as conn:
        before = conn.execute("select * from public.calls").fetchall()
        had = facts(conn)
        migrate(project_url)
        assert rows_of_theirs(conn, list(before[0])) == before
        # Its tables are closed to nobody to whom they were open, and open to nobody else but where README says so.
        assert had <= facts(conn)


def test_a_table_of_calls_gets_every_column_of_ours(project_url: str) -> None:
    migrate(project_url)
    with connect(project_url) as conn:
        [row] = conn.execute("select * from public.calls limit 1").fetchall()
    assert set(TABLES["calls"].columns) <= set(row)


def test_the_list_of_our_columns_is_what_the_migrations_create(sql: Sql) -> None:
    rows = sql.execute(
        """
        select relname, attname, format_type(atttypid, null) as type
        from pg_attribute join pg_class on pg_class.oid = attrelid
        where relnamespace = 'public'::regnamespace and relkind = 'r' and attnum > 0 and not attisdropped
        """
    ).fetchall()
    created = {(row["relname"], row["attname"], row["type"]) for row in rows}
    listed = {
        (table, column, our.types[0].removeprefix("public.") if our.types else "text")
        for table, ours in TABLES.items()
        for column, our in ours.columns.items()
    }
    assert listed == created


CALLS = "create table public.calls (id uuid primary key default gen_random_uuid(), {});"
JOBS = "create table public.historical_sync_jobs (id uuid primary key default gen_random_uuid(), {});"
REFUSED = {
    "a view of calls": ("create view public.calls as select 1 as id;", "public.calls is a view"),
    "a materialized view": (
        "create materialized view public.calls as select 1;",
        "public.calls is a materialized view",
    ),
    "a partitioned table": (
        "create table public.calls (id uuid) partition by hash (id);",
        "public.calls is a partitioned table",
    ),
    "another type": (
        CALLS.format("created_at timestamp, metadata json, agent_id varchar(20)"),
        "created_at is timestamp without time zone and must be timestamp with time zone, "
        "metadata is json and must be jsonb",
    ),
    "an agency that is no uuid": (CALLS.format("agency_id integer"), "agency_id is integer and must be uuid"),
    "a key without default": (
        "create table public.calls (id uuid primary key);",
        "public.calls.id is not null and has no default",
    ),
    "a domain that is not null": (
        "create domain public.name as text not null;" + CALLS.format("caller public.name"),
        "public.calls.caller is not null and has no default",
    ),
    "a summary that must be there": (
        CALLS.format("summary text not null default ''"),
        'alter table public.calls alter column "summary" drop not null',
    ),
    "a generated column of ours": (
        CALLS.format("x text, summary text generated always as (x || '!') stored"),
        "public.calls.summary is generated",
    ),
    "calls without an agency": (
        CALLS.format("ultravox_call_id text unique"),
        "has an ultravox_call_id but no agency_id",
    ),
    "calls of another's agencies": (
        "create table public.shops (id uuid primary key);" + CALLS.format("agency_id uuid references public.shops"),
        "public.calls (agency_id) refers to public.shops",
    ),
    "agents of their own": (
        "create table public.agents (id text primary key);" + CALLS.format("agent_id text references public.agents"),
        "public.calls (agent_id) refers to public.agents",
    ),
    "sources of their own": (
        CALLS.format("source text constraint mine check (source in ('inbound', 'outbound'))"),
        'drop constraint "mine"',
    ),
    "a call twice": (
        CALLS.format("agency_id uuid, ultravox_call_id text")
        + f"insert into public.calls (agency_id, ultravox_call_id) select '{AGENCY}', 'x' from generate_series(1, 2);",
        "public.calls has several rows of one agency with the ultravox_call_id x",
    ),
    "a key in plain text": (
        "alter table public.agencies add column ultravox_api_key_encrypted text;",
        "ultravox_api_key_encrypted is text and must be bytea",
    ),
    "users that are a view": (
        "alter table public.users rename to members; create view public.users as select * from public.members;",
        "public.users is a view",
    ),
    "users without a key": (
        "alter table public.users drop constraint users_pkey;",
        "`alter table public.users add primary key (id)`",
    ),
    "agencies by number": (
        "drop table public.users, public.agencies; create table public.agencies (id serial primary key, name text);",
        "public.agencies has columns of this service's names with another type (id is integer and must be uuid)",
    ),
    "jobs of another kind": (JOBS.format("title text"), "has no agency_id and no date_to and no status"),
    "jobs without defaults": (
        ORIGINAL + "alter table public.historical_sync_jobs alter column imported_calls drop default;",
        "public.historical_sync_jobs.imported_calls has no default",
    ),
    "a status of another kind": (
        "create type public.sync_job_status as enum ('pending', 'completed');",
        "the type public.sync_job_status does not know in_progress, failed, cancelled",
    ),
    "two active jobs": (
        ORIGINAL
        + "drop index public.idx_one_active_sync; insert into public.historical_sync_jobs (agency_id, date_to)"
        + f" values ('{AGENCY}', now());",
        f"agency {AGENCY} has several pending or in-progress jobs",
    ),
}


@pytest.mark.parametrize(("theirs", "told"), REFUSED.values(), ids=REFUSED)
def test_a_table_that_cannot_be_adopted_is_told_in_a_sentence_and_nothing_is_changed(
    create_database: Callable[..., str], theirs: str, told: str
) -> None:
    url = create_database()
    with connect(url) as conn:
        conn.execute(SUPABASE + theirs)
        before = facts(conn)
        with pytest.raises(MigrationError) as raised:
            migrate(url)
        assert facts(conn) == before
    assert told in str(raised.value)
    assert str(raised.value).startswith("nothing was changed: ")
    assert "\n" not in str(raised.value)


def test_everything_that_is_in_the_way_is_told_at_once(create_database: Callable[..., str]) -> None:
    url = create_database()
    with connect(url) as conn:
        conn.execute(
            "create view public.agencies as select 1; create table public.calls (id uuid not null, data json);"
        )
    with pytest.raises(MigrationError) as raised:
        migrate(url)
    lines = str(raised.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["nothing was changed"] * 3


@pytest.mark.parametrize("missing", ["cursor", "max_calls", "started_at", "total_calls", "created_at", "completed_at"])
def test_an_original_table_of_jobs_gets_what_it_lacks(create_database: Callable[..., str], missing: str) -> None:
    url = create_database()
    with connect(url) as conn:
        conn.execute(SUPABASE + ORIGINAL + f"alter table public.historical_sync_jobs drop column {missing}")
        migrate(url)
        [row] = conn.execute("select * from public.historical_sync_jobs limit 1").fetchall()
    assert set(TABLES["historical_sync_jobs"].columns) <= set(row)


def test_a_table_that_has_been_adopted_is_not_judged_again(own_database_url: str) -> None:
    with connect(own_database_url) as conn:
        conn.execute("alter table public.calls add column room text not null")
    assert migrate(own_database_url) == []
