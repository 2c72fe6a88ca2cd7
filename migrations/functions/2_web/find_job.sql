create or replace function historical_sync.find_job(p_job_id uuid)
returns setof historical_sync.job
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select * from historical_sync.job where id = p_job_id
$$;
