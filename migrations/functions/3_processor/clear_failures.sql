-- What a job has stored is no failure of the agency's other jobs any more.
create or replace function historical_sync.clear_failures(p_job_id uuid)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    update historical_sync.listed_calls as known
    set failure = null, window_id = null
    from historical_sync.listed_calls as stored
    where stored.job_id = p_job_id and stored.call_id = known.call_id and stored.failure is null
        and known.failure is not null
        and known.job_id in (
            select other.id
            from public.historical_sync_jobs as job
            join public.historical_sync_jobs as other using (agency_id)
            where job.id = p_job_id and other.id <> p_job_id
        )
$$;
