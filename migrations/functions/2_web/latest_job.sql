-- The active job of an agency, else the newest.
create or replace function historical_sync.latest_job(p_agency_id uuid)
returns setof historical_sync.job
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select * from historical_sync.job where id = coalesce(
        (select id from historical_sync.active_jobs where agency_id = p_agency_id),
        (
            select id
            from public.historical_sync_jobs
            where agency_id = p_agency_id
            order by created_at desc, id desc
            limit 1
        )
    )
$$;
