-- Puts a job, which the caller has locked, under a new lease with a new fencing token.
create or replace function historical_sync.lease_job(p_job_id uuid, p_lease interval)
returns table (
    job_id uuid,
    agency_id uuid,
    fencing_token bigint,
    page_size integer,
    api_key_encrypted bytea,
    date_from timestamptz,
    date_to timestamptz,
    consecutive_failures integer
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    perform historical_sync.plan_windows(p_job_id);

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

    return query
        select job.id, job.agency_id, job.fencing_token,
            -- The original table calls so how many calls a page has at most, not how many a job may import.
            greatest(coalesce(job.max_calls, 100), 1) as page_size,
            agency.ultravox_api_key_encrypted, job.date_from, job.date_to, job.consecutive_failures
        from public.historical_sync_jobs as job
        join public.agencies as agency on agency.id = job.agency_id
        where job.id = p_job_id;
end
$$;
