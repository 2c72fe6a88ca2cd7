-- Forgets up to p_limit of the calls that completed jobs of a job's agency have counted: nothing will be listed again. Tells
-- whether there may be more. Calls that could not be stored are kept: people ask which they were.
create or replace function historical_sync.forget_listed_calls(p_job_id uuid, p_limit integer)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from historical_sync.listed_calls as known
    using (
        select listed.job_id, listed.call_id
        from public.historical_sync_jobs as job
        join public.historical_sync_jobs as completed using (agency_id)
        join historical_sync.listed_calls as listed on listed.job_id = completed.id
        where job.id = p_job_id and completed.status = 'completed' and listed.failure is null
        limit p_limit
    ) as counted
    where known.job_id = counted.job_id and known.call_id = counted.call_id;
    return found;
end
$$;
