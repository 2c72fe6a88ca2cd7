-- The name under which a unique violation is told: ours for every index of historical_sync_jobs that allows an agency
-- one active job, since an original table can have one of its own; any other as it is.
create or replace function historical_sync.told_constraint(p_name text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when exists (
            select
            from pg_catalog.pg_index as i
            join pg_catalog.pg_class as c on c.oid = i.indexrelid
            join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            where i.indrelid = 'public.historical_sync_jobs'::regclass
                and c.relname = p_name
                and i.indisunique and i.indnkeyatts = 1 and i.indpred is not null and a.attname = 'agency_id'
        )
        then 'historical_sync_jobs_one_active_per_agency'
        else p_name
    end
$$;
