"""What Postgres' catalogs say of a database: everything that a migration can make, as facts to compare."""

import psycopg
from psycopg.rows import dict_row

from tests.support.database import Sql

Facts = set[tuple[str, str, str]]

# The rows are (kind of fact, of what, fact). yoyo's own tables are no part of the schema.
FACTS = """
with relations as (
    select oid as relation, concat(relnamespace::regnamespace, '.', relname) as name, relkind, relacl, relowner,
        reloptions, relrowsecurity, relforcerowsecurity
    from pg_class
    where relnamespace in (select oid from pg_namespace where nspname in ('public', 'historical_sync', 'auth'))
        and relkind in ('r', 'p', 'v', 'S') and relname !~ 'yoyo'
),
functions as (
    select oid as function, oid::regprocedure::text as name, proacl, proowner
    from pg_proc
    where pronamespace in (select oid from pg_namespace where nspname in ('public', 'historical_sync', 'auth'))
),
grants as (
    select name, coalesce(relacl, acldefault('r', relowner)) as acl from relations where relkind <> 'S'
    union all
    select name, coalesce(proacl, acldefault('f', proowner)) from functions
    union all
    select name || '.' || attname, attacl
    from relations join pg_attribute on attrelid = relation where attacl is not null
    union all
    select nspname, coalesce(nspacl, acldefault('n', nspowner))
    from pg_namespace where nspname in ('public', 'historical_sync', 'auth')
)
select 'relation' as kind, name as of,
    concat_ws(' ', relkind, reloptions, case when relrowsecurity then 'row-level security' end,
        case when relforcerowsecurity then 'forced' end) as fact
from relations
union all
select 'column', name || '.' || attname,
    concat_ws(' ', format_type(atttypid, atttypmod), case when attnotnull then 'not null' end, attgenerated,
        attidentity, pg_get_expr(adbin, adrelid))
from relations
join pg_attribute on attrelid = relation and attnum > 0 and not attisdropped
left join pg_attrdef on adrelid = attrelid and adnum = attnum
where relkind <> 'S'
union all
select 'constraint', name || '.' || conname, pg_get_constraintdef(pg_constraint.oid)
from relations join pg_constraint on conrelid = relation
union all
select 'index', name || '.' || indexrelid::regclass, concat(pg_get_indexdef(indexrelid), ' valid ', indisvalid)
from relations join pg_index on indrelid = relation
union all
select 'function', name, pg_get_functiondef(function) from functions
union all
select 'view', name, pg_get_viewdef(relation) from relations where relkind = 'v'
union all
select 'trigger', name || '.' || tgname, concat(pg_get_triggerdef(pg_trigger.oid), ' ', tgenabled)
from relations join pg_trigger on tgrelid = relation and not tgisinternal
union all
select 'policy', name || '.' || polname,
    concat_ws(' ', polcmd, polpermissive, polroles::regrole[], pg_get_expr(polqual, polrelid),
        pg_get_expr(polwithcheck, polrelid))
from relations join pg_policy on polrelid = relation
union all
select 'grant', name, concat_ws(' ', grantee::regrole, privilege_type, is_grantable)
from grants cross join aclexplode(acl)
union all
select 'comment', concat(pg_describe_object(classoid, objoid, objsubid)), description
from pg_description
where (classoid = 'pg_class'::regclass and objoid in (select relation from relations))
    or (classoid = 'pg_proc'::regclass and objoid in (select function from functions))
union all
select 'type', typname, string_agg(enumlabel, ' ' order by enumsortorder)
from pg_type join pg_enum on enumtypid = pg_type.oid
group by typname
union all
select 'schema', nspname, '' from pg_namespace where nspname in ('public', 'historical_sync', 'auth')
"""


def connect(url: str) -> Sql:
    return psycopg.connect(url, autocommit=True, row_factory=dict_row)


def facts(conn: Sql) -> Facts:
    with conn.transaction():
        # What is printed depends on both.
        conn.execute("set local search_path = pg_catalog")
        conn.execute("set local timezone = 'UTC'")
        return {(row["kind"], row["of"], row["fact"]) for row in conn.execute(FACTS)}
