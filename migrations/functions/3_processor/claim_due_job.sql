-- Claims the job that has been due the longest, so that no agency waits behind another's retries. A lease that has run
-- out makes a job due too, and is a failure like any other: it spends the retry budget.
create or replace function historical_sync.claim_due_job(p_lease interval)
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
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_job_id uuid;
    v_passed_over uuid[] := '{}';
begin
    if p_lease is null or p_lease not between interval '0' and interval '1 day' then
        raise invalid_parameter_value using message = 'a lease lasts between nothing and a day';
    end if;
    loop
        select due.id into v_job_id
        from historical_sync.active_jobs as due
        where coalesce(due.next_attempt_at, due.created_at) <= now()
            and (due.status = 'pending' or due.lease_expires_at is null or due.lease_expires_at <= clock_timestamp())
            and due.id <> all (v_passed_over)
        order by coalesce(due.next_attempt_at, due.created_at)
        limit 1
        for update skip locked;
        exit when not found;

        begin
            perform historical_sync.grant_lease(v_job_id, p_lease);
            return query
                select job.id, job.agency_id, job.fencing_token,
                    -- The original table calls so how many calls a page has at most, not how many a job may import.
                    greatest(coalesce(job.max_calls, 100), 1) as page_size,
                    agency.ultravox_api_key_encrypted, job.date_from, job.date_to, job.consecutive_failures
                from public.historical_sync_jobs as job
                join public.agencies as agency on agency.id = job.agency_id
                where job.id = v_job_id;
            return;
        exception when others then
            if not historical_sync.blames_row(sqlstate) then
                raise;
            end if;
            -- One agency's row must not stop all the others.
            raise warning 'historical sync job % cannot be claimed: %', v_job_id, sqlerrm;
            perform historical_sync.set_aside_job(v_job_id);
            v_passed_over := v_passed_over || v_job_id;
        end;
    end loop;
end
$$;
