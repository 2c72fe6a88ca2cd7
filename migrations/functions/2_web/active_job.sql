create or replace function historical_sync.active_job(p_agency_id uuid)
returns setof historical_sync.job
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select *
    from historical_sync.job
    where agency_id = p_agency_id and status in ('pending', 'in_progress')
$$;
