"""Looks whether a project's own `agencies`, `users`, `historical_sync_jobs` and `calls` can be adopted.

They keep their columns and get the missing ones, in the dated migrations. Here it is decided, before any of those,
whether the service can then work with them; each misfit is a sentence for an operator.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from service.migrate.tables import STATUSES, TABLES, Table

KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "p": "a partitioned table",
    "f": "a foreign table",
    "S": "a sequence",
    "i": "an index",
    "c": "a type",
}

TABLES_THERE = """
    select relname as name, relkind::text as kind,
        relforcerowsecurity and not (me.rolsuper or me.rolbypassrls) as hides_rows
    from pg_class
    cross join pg_roles as me
    where relnamespace = to_regnamespace('public') and relname = any(%s) and me.rolname = current_user
    order by relname
"""
COLUMNS = """
    select attname as name, format_type(atttypid, atttypmod) as type,
        attnotnull or typnotnull as not_null,
        atthasdef or typdefault is not null or attidentity <> '' as has_default,
        attgenerated <> '' or attidentity = 'a' as generated
    from pg_attribute
    join pg_type on pg_type.oid = atttypid
    where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped
    order by attnum
"""
# What `on conflict` and a foreign key can rely on: unique among all rows and at once.
KEYS = """
    select array(
        select attname::text
        from unnest(indkey) with ordinality as keys (number, place)
        join pg_attribute on attrelid = indrelid and attnum = number
        where place <= indnkeyatts
    )
    from pg_index
    where indrelid = to_regclass(%s) and indisunique and indisvalid and indimmediate
        and indpred is null and indexprs is null
"""
CONSTRAINTS = """
    select conname as name, contype = 'f' as is_foreign_key,
        coalesce(confrelid::regclass::text, '') as referenced,
        array(select attname::text from pg_attribute where attrelid = conrelid and attnum = any (conkey)) as columns,
        pg_get_constraintdef(oid) as definition
    from pg_constraint
    where conrelid = to_regclass(%s) and contype in ('c', 'f')
    order by conname
"""
MISSING_STATUSES = """
    select array(
        select ours from unnest(%s::text[]) as ours
        where ours not in (select enumlabel from pg_enum where enumtypid = to_regtype('public.sync_job_status'))
    )
    where to_regtype('public.sync_job_status') is not null
"""
SEVERAL_ACTIVE = """
    select agency_id from public.historical_sync_jobs
    where status in ('pending', 'in_progress')
    group by agency_id
    having count(*) > 1
    limit 1
"""
CALL_TWICE = """
    select ultravox_call_id from public.calls
    where agency_id is not null and ultravox_call_id is not null
    group by agency_id, ultravox_call_id
    having count(*) > 1
    limit 1
"""


@dataclass(frozen=True)
class Found:
    """A column of a table that is there."""

    name: str
    type: str
    not_null: bool
    has_default: bool
    generated: bool


@dataclass(frozen=True)
class Constraint:
    name: str
    is_foreign_key: bool
    referenced: str
    columns: list[str]
    definition: str


@dataclass(frozen=True)
class Existing:
    """A table, or what has the name of one of ours, and what it must become."""

    name: str
    kind: str
    hides_rows: bool
    ours: Table
    columns: dict[str, Found]
    keys: list[set[str]]
    constraints: list[Constraint]

    def alter(self, change: str) -> str:
        return f"`alter table public.{self.name} {change}` and migrate again"

    def written(self) -> list[Found]:
        """Return its columns that get values from the service, in a new row or later."""
        return [self.columns[name] for name, our in self.ours.columns.items() if our.written and name in self.columns]


def find_misfits(conn: Connection[Any]) -> Iterator[str]:
    """Yield what keeps the tables that no migration has adopted yet from being adopted.

    Raises psycopg.Error.
    """
    existing = _read(conn)
    misfits = [misfit for table in existing for misfit in _misfits(table)]
    misfits += _misfits_of_status(conn)
    # Rows are looked at only where the columns are there to be asked for.
    yield from misfits or [misfit for table in existing for misfit in _misfits_of_rows(conn, table)]


def _read(conn: Connection[Any]) -> list[Existing]:
    applied = _applied(conn)
    to_adopt = {name: left for name, table in TABLES.items() if (left := _left_to_adopt(table, applied)).columns}
    return [
        Existing(name, kind, hides_rows, to_adopt[name], *_read_inside(conn, name, to_adopt[name]))
        for name, kind, hides_rows in conn.execute(TABLES_THERE, [list(to_adopt)]).fetchall()
    ]


def _left_to_adopt(table: Table, applied: set[str]) -> Table:
    """Return the table with those of its columns that no migration has added yet."""
    columns = table.columns.items()
    return table._replace(columns={n: our for n, our in columns if (our.added_by or table.adopted_by) not in applied})


def _read_inside(
    conn: Connection[Any], name: str, ours: Table
) -> tuple[dict[str, Found], list[set[str]], list[Constraint]]:
    table = f"public.{name}"
    with conn.cursor(row_factory=class_row(Found)) as cursor:
        columns = {found.name: found for found in cursor.execute(COLUMNS, [table])}
    if len(ours.columns) < len(TABLES[name].columns):
        # Adopted before: what else is in it has been looked at.
        columns = {column: found for column, found in columns.items() if column in ours.columns}
    keys = [set(key) for (key,) in conn.execute(KEYS, [table])]
    with conn.cursor(row_factory=class_row(Constraint)) as cursor:
        return columns, keys, cursor.execute(CONSTRAINTS, [table]).fetchall()


def _applied(conn: Connection[Any]) -> set[str]:
    if conn.execute("select where to_regclass('historical_sync._yoyo_migrations') is not null").fetchone() is None:
        return set()
    return {name for (name,) in conn.execute("select migration_id from historical_sync._yoyo_migrations")}


def _misfits(table: Existing) -> Iterator[str]:
    if table.kind != "r":
        kind = KINDS.get(table.kind, "no table")
        yield f"public.{table.name} is {kind} and must be an ordinary table: rename it and migrate again"
        return
    for look in LOOKS:
        yield from look(table)


def _missing_columns(table: Existing) -> Iterator[str]:
    if missing := [name for name, our in table.ours.columns.items() if our.required and name not in table.columns]:
        yield (
            f"public.{table.name} has no {' and no '.join(missing)}, which cannot be made up for its rows:"
            " add that, or rename the table, and migrate again"
        )
    elif table.name == "calls" and "ultravox_call_id" in table.columns and "agency_id" not in table.columns:
        yield (
            "public.calls has an ultravox_call_id but no agency_id, so that every call in it would be imported once"
            " more: add `agency_id uuid`, fill it, and migrate again"
        )


def _other_types(table: Existing) -> Iterator[str]:
    others = [
        f"{name} is {table.columns[name].type} and must be {our.types[0]}"
        for name, our in table.ours.columns.items()
        if name in table.columns and our.types and table.columns[name].type not in our.types
    ]
    if others:
        yield (
            f"public.{table.name} has columns of this service's names with another type"
            f" ({', '.join(others)}): change their types, or rename them, and migrate again"
        )


def _refused_rows(table: Existing) -> Iterator[str]:
    """Yield which columns would refuse a new row, or a value that a row can have."""
    if not table.ours.gets_rows:
        return
    for found in table.columns.values():
        our = table.ours.columns.get(found.name)
        written = our.written if our else ""
        column = f"public.{table.name}.{found.name}"
        if written and found.generated:
            yield f"{column} is generated and this service writes it: rename it and migrate again"
        elif written == "or null" and found.not_null:
            drop = table.alter(f'alter column "{found.name}" drop not null')
            yield f"{column} is not null, and not every row of this service has a value for it: {drop}"
        elif written == "by default" and not found.has_default:
            yield f"{column} has no default, on which this service relies: give it one and migrate again"
        elif not written and found.not_null and not found.has_default:
            yield (
                f"{column} is not null and has no default, so that it refuses every row of this service:"
                " give it a default, or drop its not null, and migrate again"
            )


def _missing_key(table: Existing) -> Iterator[str]:
    """Our statements rely on ids being unique; the key of calls is made by the migration."""
    if "id" in table.ours.columns and "id" in table.columns and {"id"} not in table.keys:
        yield f"public.{table.name}.id is not unique: {table.alter('add primary key (id)')}"


def _foreign_keys(table: Existing) -> Iterator[str]:
    written = {found.name for found in table.written()}
    for constraint in table.constraints:
        if not constraint.is_foreign_key:
            continue
        columns = ", ".join(constraint.columns)
        refers = f"public.{table.name} ({columns}) refers to {constraint.referenced}"
        drop = table.alter(f'drop constraint "{constraint.name}"')
        if columns == "agency_id":
            if constraint.referenced != "public.agencies":
                yield f"{refers} and must refer to public.agencies: {drop}"
        elif table.name == "calls" and written & set(constraint.columns):
            yield f"{refers}, which need not know what a past call names: {drop}"


def _refused_source(table: Existing) -> Iterator[str]:
    for constraint in table.constraints:
        of_source = table.name == "calls" and "source" in constraint.columns and not constraint.is_foreign_key
        if of_source and "historical_sync" not in constraint.definition:
            drop = table.alter(f'drop constraint "{constraint.name}"')
            yield f'the constraint "{constraint.name}" of public.calls refuses the source historical_sync: {drop}'


def _hidden_rows(table: Existing) -> Iterator[str]:
    if table.hides_rows and table.name != "users":
        yield (
            f"row-level security of public.{table.name} is forced upon its owner too, with whose rights this service"
            f" works: {table.alter('no force row level security')}"
        )


LOOKS: tuple[Callable[[Existing], Iterator[str]], ...] = (
    _missing_columns,
    _other_types,
    _refused_rows,
    _missing_key,
    _foreign_keys,
    _refused_source,
    _hidden_rows,
)


def _misfits_of_status(conn: Connection[Any]) -> Iterator[str]:
    for (missing,) in conn.execute(MISSING_STATUSES, [list(STATUSES)]):
        if missing:
            yield (
                f"the type public.sync_job_status does not know {', '.join(missing)}: add that with"
                f" `alter type … add value`, or rename the type if it is another's, and migrate again"
            )


def _misfits_of_rows(conn: Connection[Any], table: Existing) -> Iterator[str]:
    if table.name == "historical_sync_jobs":
        for (agency_id,) in conn.execute(SEVERAL_ACTIVE):
            yield (
                f"agency {agency_id} has several pending or in-progress jobs in public.historical_sync_jobs:"
                " set all but one of them to cancelled and migrate again"
            )
    elif table.name == "calls" and table.columns.keys() >= {"agency_id", "ultravox_call_id"}:
        for (call_id,) in conn.execute(CALL_TWICE):
            yield (
                f"public.calls has several rows of one agency with the ultravox_call_id {call_id}:"
                " keep one of them and migrate again"
            )
