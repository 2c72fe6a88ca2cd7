-- Puts a job, which the caller has locked, under a new lease with a new fencing token.
create or replace function historical_sync.grant_lease(p_job_id uuid, p_lease interval)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    perform historical_sync.open_window(p_job_id);

    update public.historical_sync_jobs as job
    set status = 'in_progress',
        fencing_token = job.fencing_token + 1,
        attempt = job.attempt + 1,
        -- A job that still has a lease was left by a processor that died.
        consecutive_failures = job.consecutive_failures + (job.lease_expires_at is not null)::integer,
        lease_expires_at = clock_timestamp() + p_lease,
        next_attempt_at = null,
        started_at = coalesce(job.started_at, now()),
        last_activity_at = now(),
        attempt_started_at = now(),
        attempt_processed_calls = job.processed_calls
    where job.id = p_job_id;
end
$$;
