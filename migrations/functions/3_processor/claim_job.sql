-- Claims the job that has been due the longest, so that no agency waits behind another's retries. A lease that has
-- run out is due too.
create or replace function historical_sync.claim_job(p_lease interval)
returns table (
    job_id uuid,
    agency_id uuid,
    fencing_token bigint,
    page_size integer,
    api_key_encrypted bytea,
    date_from timestamptz,
    date_to timestamptz
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_job public.historical_sync_jobs;
begin
    update public.historical_sync_jobs as job
    set status = 'in_progress',
        fencing_token = job.fencing_token + 1,
        attempt = job.attempt + 1,
        lease_expires_at = clock_timestamp() + p_lease,
        next_attempt_at = null,
        started_at = coalesce(job.started_at, now()),
        last_activity_at = now(),
        attempt_started_at = now(),
        attempt_processed_calls = job.processed_calls
    where job.id = (
        select due.id
        from public.historical_sync_jobs as due
        where due.status in ('pending', 'in_progress')
            and coalesce(due.next_attempt_at, due.created_at) <= now()
            and (due.status = 'pending' or due.lease_expires_at is null or due.lease_expires_at <= clock_timestamp())
        order by coalesce(due.next_attempt_at, due.created_at)
        limit 1
        for update skip locked
    )
    returning job.* into v_job;
    if not found then
        return;
    end if;

    insert into historical_sync.windows (job_id, starts_at, ends_at)
    select v_job.id, v_job.date_from, v_job.date_to
    where not exists (select from historical_sync.windows as planned where planned.job_id = v_job.id);

    return query
        select v_job.id, v_job.agency_id, v_job.fencing_token, coalesce(v_job.max_calls, 100),
            agency.ultravox_api_key_encrypted, v_job.date_from, v_job.date_to
        from public.agencies as agency
        where agency.id = v_job.agency_id;
end
$$;
