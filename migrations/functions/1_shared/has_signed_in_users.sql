-- Whether Supabase's API serves this database: it comes in as `authenticated`, and auth.uid() says who that is.
create or replace function historical_sync.has_signed_in_users()
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (select from pg_roles where rolname = 'authenticated')
        and exists (
            select
            from pg_proc
            join pg_namespace on pg_namespace.oid = pronamespace
            where nspname = 'auth' and proname = 'uid' and pronargs = 0
        )
$$;
