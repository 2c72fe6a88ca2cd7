-- Which tables of public the migrations have created; those that a project had are not in it. By the table itself, so
-- that one which has come into the place of another is not taken for it.
create table if not exists historical_sync.created_tables (name regclass primary key);

alter table historical_sync.created_tables enable row level security;

do $$
begin
    if to_regclass('historical_sync.found_tables') is null then
        return;  -- this has been done
    end if;
    insert into historical_sync.created_tables (name)
    select oid
    from pg_catalog.pg_class
    where relnamespace = 'public'::regnamespace
        and relname in ('historical_sync_jobs', 'calls')
        and relname not in (select name from historical_sync.found_tables)
    on conflict do nothing;
    drop table historical_sync.found_tables;
end
$$;
