-- The job that stands in the way of a new one, for the answer 409 and for the status: there is one at most.
create or replace function historical_sync.active_job(p_agency_id uuid)
returns setof historical_sync.job
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select * from historical_sync.job where id = (
        select id from historical_sync.active_jobs where agency_id = p_agency_id
    )
$$;
