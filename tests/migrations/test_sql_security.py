"""Our SQL functions run with the rights of the database's owner; who logs in as one of our roles must not get them."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import Diagnostic

from service.migrate import migrate
from service.migrate.preflight import ROLES
from tests.support.catalog import connect
from tests.support.database import Sql, add_agency, add_user, empty_tables, login_url
from tests.support.projects import AGENCY, AUTH, OLD_FUNCTION, ORIGINAL, SUPABASE

PATH = "search_path=pg_catalog, pg_temp"

# Trigger functions are not security definer, but run as the owner where a function of the owner's writes the table.
OURS = """
    select oid, oid::regproc::text as name, oid::regprocedure::text as signature, prosrc as source,
        coalesce(proconfig, '{}') as settings, coalesce(proargnames[1:pronargs], '{}') as parameters,
        array(select format_type(type, null) from unnest(proargtypes) as type) as types
    from pg_proc
    where pronamespace = 'historical_sync'::regnamespace
        or (pronamespace = 'public'::regnamespace and proname = 'create_historical_sync_job')
        or oid in (
            select tgfoid from pg_trigger join pg_class on pg_class.oid = tgrelid
            where relnamespace = 'public'::regnamespace and not tgisinternal
        )
    order by signature
"""


def functions_of_ours(conn: Sql) -> list[dict[str, Any]]:
    functions = conn.execute(OURS).fetchall()
    assert len(functions) > 20
    return functions


def test_every_function_of_ours_looks_in_pg_catalog_before_pg_temp(sql: Sql) -> None:
    """With an empty search_path Postgres looks for types and tables in pg_temp first, as it never does for functions.

    There is no exception: one that is not security definer is called by one that is, or from a trigger.
    """
    assert [function["signature"] for function in functions_of_ours(sql) if PATH not in function["settings"]] == []


# The relations that our functions may name, and views that look like them.
RELATIONS = """
    select relname, string_agg(format('null::%s as %I', format_type(atttypid, null), attname), ', ' order by attnum)
        as columns
    from pg_class join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
    where relnamespace in (select oid from pg_namespace where nspname in ('public', 'historical_sync', 'auth'))
        and relkind in ('r', 'v')
    group by relname
"""
FUNCTIONS = """
    select proname, array_to_string(array(select format_type(type, null) from unnest(proargtypes) as type), ', '),
        format_type(prorettype, null)
    from pg_proc
    where prokind = 'f' and pronamespace in ('pg_catalog'::regnamespace, 'historical_sync'::regnamespace)
"""
TYPES = "select typname from pg_type where typnamespace = 'pg_catalog'::regnamespace and typtype in ('b', 'r')"
# Pairs of types for which Postgres has no operator, so that it casts one of them, or takes one for any enum.
OPERATORS = """
    with types as (
        select format_type(oid, null) as type, oid
        from pg_type
        where oid = any (array['int4', 'int8', 'numeric', 'float8', 'text', 'timestamptz', 'interval',
            'public.sync_job_status']::regtype[])
    )
    select operator, l.type as left, r.type as right,
        case when operator ~ '[=<>]' then 'boolean' else l.type end as returned
    from types as l
    cross join types as r
    cross join unnest(array['=', '<>', '<', '>', '<=', '>=', '+', '-', '*', '/']) as operator
    where not exists (select from pg_operator where oprname = operator and oprleft = l.oid and oprright = r.oid)
"""


class Attacker:
    """Somebody with the password of one of our roles, who calls every function that it may in a prepared session.

    What is planted there says as whom it has run, and where.
    """

    def __init__(self, owner_url: str, role: str) -> None:
        self.role = role
        self.ran: set[tuple[str, str]] = set()
        self._owner = connect(owner_url)
        self._conn = psycopg.connect(login_url(owner_url, role), autocommit=True)
        self._conn.add_notice_handler(self._notice)
        self._functions = functions_of_ours(self._owner)
        self._words = {word for function in self._functions for word in re.findall(r"\w+", function["source"])}

    def close(self) -> None:
        self._conn.close()
        self._owner.close()

    def ran_as_others(self) -> set[tuple[str, str]]:
        return {(user, place) for user, place in self.ran if user != self.role}

    def plant_in_pg_temp(self) -> None:
        """Shadow every relation, function and type that our functions name."""
        self._plant_evil("pg_temp")
        for name, columns in self._named(RELATIONS):
            self._try(f"create view pg_temp.{name} as select {columns} where pg_temp.evil('relation {name}')")
            self._try(
                f"create trigger evil instead of insert or update or delete on pg_temp.{name}"
                " for each row execute function pg_temp.evil()"
            )
        for name, parameters, returned in self._named(FUNCTIONS):
            self._try(
                f"create function pg_temp.{name}({parameters}) returns {returned} language plpgsql"
                f" as $$ begin perform pg_temp.evil('function {name}'); return null; end $$"
            )
        for (name,) in self._named(TYPES):
            self._try(f"create domain pg_temp.{name} as pg_catalog.{name} check (pg_temp.evil('type {name}'))")

    def plant_operators_in_public(self) -> None:
        self._plant_evil("public")
        for number, (operator, left, right, returned) in enumerate(self._rows(OPERATORS)):
            self._conn.execute(
                f"create function public.take_{number}({left}, {right}) returns {returned} language plpgsql"
                f" as $$ begin perform public.evil('{operator} {left} {right}'); return null; end $$;"
                f"create operator public.{operator}"
                f" (function = public.take_{number}, leftarg = {left}, rightarg = {right})"
            )

    def call_everything(self) -> None:
        allowed = [function for function in self._functions if self._may_execute(function)]
        succeeded = sum(self._call(function) for function in allowed)
        assert succeeded >= len(allowed) / 2, "these calls try little"

    def _plant_evil(self, schema: str) -> None:
        says = "raise warning using message = current_user || ' ran '"
        self._conn.execute(
            f"create function {schema}.evil(pg_catalog.text) returns pg_catalog.bool language plpgsql"
            f" as $$ begin {says} || $1; return true; end $$;"
            f"create function {schema}.evil() returns trigger language plpgsql"
            f" as $$ begin {says} || 'trigger'; return new; end $$"
        )

    def _named(self, query: str) -> list[tuple[str, ...]]:
        return [row for row in self._rows(query) if row[0] in self._words]

    def _rows(self, query: str) -> list[tuple[str, ...]]:
        return [tuple(row.values()) for row in self._owner.execute(query)]

    def _try(self, statement: str) -> None:
        # Some cannot be shadowed: a domain over a pseudo-type, a function of a polymorphic one.
        with suppress(psycopg.Error):
            self._conn.execute(statement)

    def _may_execute(self, function: dict[str, Any]) -> bool:
        query = "select has_function_privilege(%s, %s::oid, 'execute') as allowed"
        [row] = self._owner.execute(query, [self.role, function["oid"]])
        return bool(row["allowed"])

    def _call(self, function: dict[str, Any]) -> bool:
        values = arguments(self._owner, function)
        marks = ", ".join(["%s"] * len(values))
        try:
            self._conn.execute(f"select * from {function['name']}({marks})", values)
        except psycopg.Error:
            return False
        return True

    def _notice(self, diagnostic: Diagnostic) -> None:
        user, ran, place = (diagnostic.message_primary or "").partition(" ran ")
        if ran:
            self.ran.add((user, place))


def arguments(sql: Sql, function: dict[str, Any]) -> list[str]:
    """Put rows for a call to work on, and return its arguments: by their names, else by their types."""
    empty_tables(sql)
    agency, other = add_agency(sql), add_agency(sql)
    user = add_user(sql, agency)
    [job] = sql.execute(
        "insert into public.historical_sync_jobs (agency_id, date_to, status, fencing_token, lease_expires_at)"
        " values (%s, '2026-03-02', 'in_progress', 7, now() + interval '1 hour') returning id",
        [agency],
    )
    [window] = sql.execute(
        "insert into historical_sync.windows (job_id, ends_at) values (%s, '2026-03-02') returning id", [job["id"]]
    )
    sql.execute("insert into public.historical_sync_jobs (agency_id, date_to) values (%s, now())", [add_agency(sql)])
    call = {"callId": "a", "created": "2026-03-01T00:00:00Z", "medium": {"sip": {}}, "metadata": {}}
    by_name = {
        "p_job_id": job["id"],
        "p_agency_id": agency if "p_job_id" in function["parameters"] else other,
        "p_user_id": user,
        "p_fencing_token": 7,
        "p_window_id": window["id"],
        "p_counts": '{"200": 1}',
    }
    by_type = {
        "uuid": uuid4(),
        "bigint": 7,
        "integer": 100,
        "interval": "1 minute",
        "timestamp with time zone": "2026-03-01T00:00:00Z",
        "jsonb": json.dumps({"results": [call, {**call, "callId": None}]}),
        "bytea": "key",
        "text[]": "{a}",
        "boolean": "true",
    }
    return [
        str(by_name.get(name, by_type.get(type_, "a")))
        for name, type_ in zip(function["parameters"], function["types"], strict=True)
    ]


@pytest.fixture
def attackers(own_database_url: str) -> Iterator[Callable[[str], Attacker]]:
    with connect(own_database_url) as conn:
        conn.execute(AUTH)
    made: list[Attacker] = []

    def make(role: str) -> Attacker:
        made.append(Attacker(own_database_url, role))
        return made[-1]

    yield make
    for attacker in made:
        attacker.close()


@pytest.mark.parametrize("role", ROLES)
def test_nothing_that_a_role_puts_into_pg_temp_runs_as_the_owner(
    attackers: Callable[[str], Attacker], role: str
) -> None:
    attacker = attackers(role)
    attacker.plant_in_pg_temp()
    attacker.call_everything()
    assert attacker.ran_as_others() == set()


@pytest.mark.parametrize("role", ROLES)
def test_that_attack_finds_an_empty_search_path(
    attackers: Callable[[str], Attacker], role: str, own_database_url: str
) -> None:
    with connect(own_database_url) as conn:
        for function in functions_of_ours(conn):
            conn.execute(f"alter function {function['signature']} set search_path = ''")
    attacker = attackers(role)
    attacker.plant_in_pg_temp()
    attacker.call_everything()
    assert {place.partition(" ")[0] for _, place in attacker.ran_as_others()} == {"type"}


def test_no_operator_in_public_gets_into_what_a_migration_creates(
    attackers: Callable[[str], Attacker], own_database_url: str
) -> None:
    """A cluster that was once older than Postgres 15 lets everybody create objects in public."""
    with connect(own_database_url) as conn:
        conn.execute("grant create on schema public to public")
    attacker = attackers("historical_sync_service")
    attacker.plant_operators_in_public()
    migrate(own_database_url)
    attacker.call_everything()
    assert attacker.ran_as_others() == set()


def test_no_temporary_table_stands_in_for_one_that_a_projects_own_function_names(
    create_database: Callable[..., str], template: str
) -> None:
    """Its create_historical_sync_job() may name its tables without a schema, and set no path of its own."""
    url = create_database()
    with connect(url) as conn:
        conn.execute(SUPABASE + ORIGINAL + OLD_FUNCTION.replace("public.historical_sync_jobs", "historical_sync_jobs"))
        conn.execute("truncate public.historical_sync_jobs")
        columns = conn.execute(RELATIONS).fetchall()
    migrate(url)
    with connect(login_url(url, "historical_sync_service")) as service:
        [jobs] = [row["columns"] for row in columns if row["relname"] == "historical_sync_jobs"]
        service.execute(f"create temp table historical_sync_jobs as select {jobs}")
        service.execute("select historical_sync.create_job(%s, null, null, null)", [AGENCY])
    with connect(url) as conn:
        assert conn.execute("select status from public.historical_sync_jobs").fetchall() == [{"status": "pending"}]


@pytest.mark.parametrize("role", ROLES)
def test_our_roles_reach_no_table_but_three_columns_of_users(sql: Sql, role: str) -> None:
    rows = sql.execute(
        """
        select relname as table, string_agg(attname, ',' order by attname) as columns
        from pg_class join pg_attribute on attrelid = pg_class.oid and attnum > 0
        where relnamespace in ('public'::regnamespace, 'historical_sync'::regnamespace) and relkind in ('r', 'v', 'S')
            and (
                has_table_privilege(%(role)s, pg_class.oid, 'insert, update, delete, truncate, references, trigger')
                or has_column_privilege(%(role)s, pg_class.oid, attnum, 'select, insert, update, references')
            )
        group by relname
        """,
        {"role": role},
    ).fetchall()
    expected = [{"table": "users", "columns": "agency_id,id,role"}] if role == "historical_sync_service" else []
    assert rows == expected


@pytest.mark.parametrize("role", ROLES)
def test_our_roles_may_create_nothing_that_others_can_find(own_database_url: str, role: str) -> None:
    with connect(login_url(own_database_url, role)) as conn:
        for statement in ("create schema mine", "create table public.mine ()", "create table historical_sync.mine ()"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)


def test_a_trigger_of_the_project_runs_nothing_that_one_of_our_roles_has_planted(
    own_database_url: str,
) -> None:
    """It names its table without a schema, and is run by our functions with the rights of the owner."""
    with connect(own_database_url) as owner:
        owner.execute(
            """
            create table public.job_log (job_id uuid);
            create function public.log_job() returns trigger language plpgsql as
                $$ begin insert into job_log values (new.id); return new; end $$;
            create trigger log_job after insert or update on public.historical_sync_jobs
                for each row execute function public.log_job();
            """
        )
        agency_id = add_agency(owner)
        with connect(login_url(own_database_url, "historical_sync_service")) as service:
            service.execute(
                """
                create temporary table job_log (job_id uuid);
                create function pg_temp.evil() returns trigger language plpgsql as
                    $$ begin raise exception 'evil ran as %', current_user; end $$;
                create trigger evil before insert on pg_temp.job_log for each row execute function pg_temp.evil();
                """
            )
            [row] = service.execute(
                "select historical_sync.create_job(%s, null, null, now()) as id", [agency_id]
            ).fetchall()
            service.execute("select * from historical_sync.cancel_job(%s, %s)", [agency_id, row["id"]])
        assert owner.execute("select from public.job_log").rowcount >= 2
