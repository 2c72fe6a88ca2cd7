-- Goes on from the checkpoints of the job's windows. Fails with 23505 where another job is active.
create or replace function historical_sync.resume_job(p_agency_id uuid, p_job_id uuid)
returns table (agency_id uuid, status text, changed boolean)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    return query
        update public.historical_sync_jobs as job
        set status = 'pending', completed_at = null, error_message = null, consecutive_failures = 0
        where job.id = p_job_id and job.agency_id = p_agency_id and job.status in ('failed', 'cancelled')
        returning job.agency_id, job.status::text, true;
    if not found then
        return query select * from historical_sync.job_left_as_it_is(p_job_id);
    end if;
exception when check_violation then
    -- A finished job of an original table can break a rule that an active one must keep.
    return query select * from historical_sync.job_left_as_it_is(p_job_id);
end
$$;
