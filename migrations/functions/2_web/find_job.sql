-- A job of whichever agency: the web service compares the agency with the caller's and says whose it is not.
create or replace function historical_sync.find_job(p_job_id uuid)
returns setof historical_sync.job
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select * from historical_sync.job where id = p_job_id
$$;
