"""Looks, before a migration changes anything, whether it can succeed on this database.

Every obstacle is a sentence for an operator: what is in the way, and what to do. These are the server and the rights of
the role that migrates; what existing tables must be like is in service.migrate.adoption.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from psycopg import Connection

from service.migrate.adoption import find_misfits

MINIMUM_VERSION = 150_000
ROLES = ["historical_sync_service", "historical_sync_processor"]

# What the migration alters or replaces. `create_historical_sync_job` can be the project's own: then it is closed to
# the API's roles, which is its owner's right too.
OWNED = """
    select rolname, array_agg(distinct name order by name)
    from (
        select relowner, case nspname when 'public' then 'public.' || relname else 'the schema historical_sync' end
        from pg_class join pg_namespace as n on n.oid = relnamespace
        where (nspname = 'public' and relname in ('agencies', 'users', 'historical_sync_jobs', 'calls'))
            or (nspname = 'historical_sync' and relkind in ('r', 'v'))
        union all
        select proowner, case nspname when 'public' then 'public.' || proname else 'the schema historical_sync' end
        from pg_proc join pg_namespace as n on n.oid = pronamespace
        where (nspname = 'public' and proname = 'create_historical_sync_job') or nspname = 'historical_sync'
        union all
        select nspowner, 'the schema historical_sync' from pg_namespace where nspname = 'historical_sync'
    ) as things (owner, name)
    join pg_roles on pg_roles.oid = owner
    where not pg_has_role(owner, 'USAGE')
    group by rolname
"""
# The functions run with the rights of the role that migrates. On Supabase row-level security hides these tables from
# everybody who may not bypass it.
UNREADABLE = """
    select format('%I.%I', nspname, relname) as name
    from pg_class
    join pg_namespace as n on n.oid = relnamespace
    cross join pg_roles as me
    where nspname = 'auth' and relname in ('users', 'sessions') and me.rolname = current_user
        and not (
            has_schema_privilege(n.oid, 'USAGE') and has_table_privilege(pg_class.oid, 'SELECT')
            and (
                not relrowsecurity or me.rolsuper or me.rolbypassrls
                or (pg_has_role(relowner, 'USAGE') and not relforcerowsecurity)
            )
        )
    order by name
"""


def find_obstacles(conn: Connection[Any]) -> list[str]:
    """Return why a migration cannot succeed, nothing where it can. Changes nothing.

    Raises psycopg.Error.
    """
    for look in (partial(look_at_server, variable="DATABASE_URL"), _rights, find_misfits):
        if obstacles := list(look(conn)):
            return obstacles
    return []


def look_at_server(conn: Connection[Any], *, variable: str) -> Iterator[str]:
    """Yield why the database that a variable names is of no use, whoever logs in.

    Raises psycopg.Error.
    """
    version, minimum = conn.info.server_version // 10_000, MINIMUM_VERSION // 10_000
    if version < minimum:
        yield (
            f"the server is Postgres {version} and must be {minimum} or later:"
            f" upgrade it, or name another one in {variable}"
        )
    encoding = conn.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        yield (
            f"the database {conn.info.dbname} is encoded in {encoding}, which cannot hold every call's text:"
            f" create one with `encoding 'UTF8' template template0` and name it in {variable}"
        )
    if _ask(conn, "select current_setting('transaction_read_only') = 'on'"):
        yield f"the database is read-only, as a standby is: name the primary server in {variable}"


def _rights(conn: Connection[Any]) -> Iterator[str]:
    me = _ask(conn, "select current_user")
    yield from _missing_roles(conn, me)
    yield from _missing_privileges(conn, me)
    for owner, names in conn.execute(OWNED):
        yield (
            f"{me} does not own {', '.join(names)}: migrate as {owner}, who does,"
            f" or `grant {owner} to {me}` and migrate again"
        )
    if unreadable := [name for (name,) in conn.execute(UNREADABLE)]:
        yield (
            f"{me} cannot read {' and '.join(unreadable)}, where Supabase Auth keeps whose tokens are revoked:"
            f" migrate as `postgres`, or grant {me} select there (and bypassrls, where row-level security is on)"
        )


def _missing_roles(conn: Connection[Any], me: str) -> Iterator[str]:
    known = [name for (name,) in conn.execute("select rolname from pg_roles where rolname = any(%s)", [ROLES])]
    missing = [role for role in ROLES if role not in known]
    if missing and not _ask(conn, "select rolsuper or rolcreaterole from pg_roles where rolname = current_user"):
        commands = " ".join(f"create role {role} nologin;" for role in missing)
        yield f"{me} may not create roles: let somebody who may run `{commands}` and migrate again"


def _missing_privileges(conn: Connection[Any], me: str) -> Iterator[str]:
    database = conn.info.dbname
    if not _ask(
        conn,
        "select has_database_privilege(current_database(), 'CREATE')"
        " or exists (select from pg_namespace where nspname = 'historical_sync')",
    ):
        yield f"{me} may not create a schema here: let the owner run `grant create on database {database} to {me}`"
    if not _ask(conn, "select coalesce(has_schema_privilege(to_regnamespace('public'), 'CREATE'), false)"):
        yield f"{me} may not create tables in public: let its owner run `grant create on schema public to {me}`"


def _ask(conn: Connection[Any], query: str) -> Any:
    [(answer,)] = conn.execute(query).fetchall()
    return answer
