-- Gives the job back to be tried again: after a backoff that doubles from 5 seconds to 10 minutes, and not before
-- p_retry_after where the API asks for that. Fails it once p_max_failures in a row have brought nothing.
create or replace function historical_sync.reschedule_job(
    p_job_id uuid,
    p_fencing_token bigint,
    p_error text,
    p_retry_after interval,
    p_max_failures integer
)
returns setof historical_sync.job
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_failures integer;
begin
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    update public.historical_sync_jobs
    set consecutive_failures = consecutive_failures + 1
    where id = p_job_id
    returning consecutive_failures into v_failures;
    if v_failures >= p_max_failures then
        return query select * from historical_sync.fail_job(
            p_job_id, p_fencing_token,
            format(
                'Given up (failures in a row: %s). The last one: %s. Resume later, and tell support if that does not help.',
                v_failures, p_error
            )
        );
        return;
    end if;
    update public.historical_sync_jobs
    set status = 'pending',
        lease_expires_at = null,
        error_message = p_error,
        last_error_at = now(),
        -- Jitter, so that jobs that failed together do not come back together.
        -- A pause that the API asks for can be longer than the backoff and never shorter: it may ask for none.
        next_attempt_at = now() + greatest(
            case when p_retry_after is not null then least(p_retry_after, interval '1 day') end,
            -- The doubling ends where ten minutes are passed: an interval has its limit as well.
            least(interval '5 seconds' * 2 ^ least(v_failures - 1, 7), interval '10 minutes')
        ) * (1 + random() * 0.2)
    where id = p_job_id;
    return query select * from historical_sync.job where id = p_job_id;
end
$$;
