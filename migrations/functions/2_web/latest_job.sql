create or replace function historical_sync.latest_job(p_agency_id uuid)
returns setof historical_sync.job
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    -- The active one first: there is one at most.
    select *
    from historical_sync.job
    where agency_id = p_agency_id
    order by status in ('pending', 'in_progress') desc, created_at desc, id desc
    limit 1
$$;
