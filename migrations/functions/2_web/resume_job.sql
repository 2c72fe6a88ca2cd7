-- Goes on from the checkpoints of the job's windows; one that has brought calls that could not be stored begins again, to
-- try them again. Fails with 23505 where another job is active.
create or replace function historical_sync.resume_job(p_agency_id uuid, p_job_id uuid)
returns table (agency_id uuid, status text, changed boolean)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    -- The windows before the job, as everybody locks them: a processor that was cancelled can have a page in hand.
    perform from historical_sync.windows
    where job_id = p_job_id
        and id in (select window_id from historical_sync.listed_calls where job_id = p_job_id and failure is not null)
    order by id
    for update;
    return query
        update public.historical_sync_jobs as job
        set status = 'pending', completed_at = null, error_message = null, consecutive_failures = 0
        where job.id = p_job_id and job.agency_id = p_agency_id and job.status in ('failed', 'cancelled')
        returning job.agency_id, job.status::text, true;
    if not found then
        return query select * from historical_sync.job_left_as_it_is(p_job_id);
        return;
    end if;
    update historical_sync.windows
    set cursor = null, finished_at = null
    where job_id = p_job_id
        and id in (
            select window_id from historical_sync.listed_calls where job_id = p_job_id and failure is not null
        );
exception when check_violation then
    -- A finished job of an original table can break a rule that an active one must keep.
    return query select * from historical_sync.job_left_as_it_is(p_job_id);
end
$$;
