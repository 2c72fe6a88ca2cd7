-- Which tables a project has already, before the files after this one create those that are missing: what signed-in users
-- may read is decided for created ones only. 20261125000000_mark_created_tables.sql makes of it the mark that stays.
create table if not exists historical_sync.found_tables (name text primary key);

alter table historical_sync.found_tables enable row level security;

-- In a database that release 0.1 has migrated, those files have been applied before this one. What they have created is
-- told by what can still be seen: these columns come first, row-level security is on, and nothing on the table is
-- anybody else's. In case of doubt a table counts as found.
insert into historical_sync.found_tables (name)
select relname
from pg_catalog.pg_class as known
left join (
    values
        (
            'historical_sync_jobs', '20261123090200_create_historical_sync_jobs',
            'id not null, agency_id not null, date_from, date_to not null, status not null, total_calls, '
            'processed_calls not null, imported_calls not null, skipped_calls not null, failed_calls not null, cursor, '
            'error_message, last_error_at, max_calls, created_at not null, started_at, completed_at, last_activity_at, '
            'requested_by, attempt not null, '
        ),
        (
            'calls', '20261123090300_create_calls',
            'agency_id not null, ultravox_call_id not null, source not null, agent_id, created_at not null, joined_at, '
            'ended_at, duration_seconds, end_reason, billing_status, billed_seconds, medium, short_summary, summary, '
            'metadata not null, data not null, imported_at not null, updated_at not null, fetched_at not null, '
        )
) as ours (name, created_by, first_columns) on name = relname
where relnamespace = 'public'::regnamespace
    and relname in ('historical_sync_jobs', 'calls')
    and (
        not relrowsecurity
        or relforcerowsecurity
        or not exists (select from historical_sync._yoyo_migrations where migration_id = created_by)
        or not starts_with(
            (
                select string_agg(attname || case when attnotnull then ' not null, ' else ', ' end, '' order by attnum)
                from pg_catalog.pg_attribute
                where attrelid = known.oid and attnum > 0
            ),
            first_columns
        )
        or exists (select from pg_catalog.pg_policy where polrelid = known.oid)
        or exists (
            select
            from pg_catalog.pg_index
            join pg_catalog.pg_class as of_index on of_index.oid = indexrelid
            where indrelid = known.oid
                and of_index.relname !~ '^(calls|historical_sync_jobs)_(pkey|newest_by_.+|one_active_per_agency|due)$'
        )
        or exists (
            select
            from pg_catalog.pg_constraint
            where conrelid = known.oid
                and contype <> 'n'
                and (not convalidated or conname !~ '(^sync_jobs_.+|_pkey|_agency_id_fkey|^calls_source_known)$')
        )
        or exists (
            select
            from pg_catalog.pg_trigger
            where tgrelid = known.oid and not tgisinternal and tgname <> 'historical_sync_jobs_notify_pending'
        )
    )
on conflict do nothing;

-- So is a table of jobs that a function of the project's own fills, or that has a job from before.
do $$
begin
    if to_regclass('public.historical_sync_jobs') is null
        or exists (select from historical_sync.found_tables where name = 'historical_sync_jobs')
    then
        return;  -- of a found one it is not known which columns it has
    end if;
    insert into historical_sync.found_tables (name)
    select 'historical_sync_jobs'
    where exists (
            select
            from pg_catalog.pg_proc
            where pronamespace = 'public'::regnamespace
                and proname = 'create_historical_sync_job'
                and coalesce(obj_description(oid, 'pg_proc'), '') not like 'Creates a pending job for [p\_date\_from, p\_date\_to).%'
        )
        or exists (
            select
            from public.historical_sync_jobs
            join historical_sync._yoyo_migrations on migration_id = '20261123090200_create_historical_sync_jobs'
            where created_at < applied_at_utc at time zone 'UTC'
        )
    on conflict do nothing;
end
$$;
