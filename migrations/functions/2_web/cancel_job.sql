-- At once, in progress too: the lease ends with it, so nothing is written after. Changes a job of the agency that is
-- active and no other; the answer is the job as it is now, and whether this call has changed it.
create or replace function historical_sync.cancel_job(p_agency_id uuid, p_job_id uuid)
returns table (agency_id uuid, status text, changed boolean)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    return query
        update historical_sync.active_jobs as job
        set status = 'cancelled', completed_at = now(), lease_expires_at = null, next_attempt_at = null
        where job.id = p_job_id and job.agency_id = p_agency_id
        returning job.agency_id, job.status::text, true;
    if not found then
        return query select * from historical_sync.job_left_as_it_is(p_job_id);
    end if;
end
$$;
