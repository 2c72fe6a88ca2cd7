-- What is said of a job that could not be cancelled or resumed: whose it is and what its status is now. A statement of its
-- own, so that it sees what the attempt has waited for.
create or replace function historical_sync.job_left_as_it_is(p_job_id uuid)
returns table (agency_id uuid, status text, changed boolean)
language sql
set search_path = pg_catalog, pg_temp
as $$
    select job.agency_id, job.status::text, false
    from public.historical_sync_jobs as job
    where job.id = p_job_id
$$;
