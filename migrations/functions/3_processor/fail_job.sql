-- Ends a job that no retry can mend, with a sentence for the operators of its agency. Its windows keep their checkpoints,
-- so that resume_job() goes on from there.
create or replace function historical_sync.fail_job(p_job_id uuid, p_fencing_token bigint, p_error text)
returns setof historical_sync.job
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    update public.historical_sync_jobs
    set status = 'failed', completed_at = now(), lease_expires_at = null, error_message = p_error, last_error_at = now()
    where id = p_job_id;
    return query select * from historical_sync.job where id = p_job_id;
end
$$;
