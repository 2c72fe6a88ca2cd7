-- A job is complete when the API has said of each of its windows that nothing more is in it. It is verified when as many
-- calls are there as Ultravox counts, on each day.
create or replace function historical_sync.complete_job(p_job_id uuid, p_fencing_token bigint)
returns setof historical_sync.job
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_job public.historical_sync_jobs;
    v_missing integer;
begin
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    perform historical_sync.refuse_unfinished_windows(p_job_id);
    select * into v_job from public.historical_sync_jobs where id = p_job_id;
    v_missing := case when v_job.source_compared_at is not null then historical_sync.count_missing_calls(v_job) end;
    perform historical_sync.clear_failures(p_job_id);
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    update public.historical_sync_jobs
    set status = 'completed', completed_at = now(), lease_expires_at = null, error_message = null,
        verification = case when v_missing > 0 then 'gaps' when v_missing = 0 then 'verified' else 'unverified' end,
        missing_calls = nullif(v_missing, 0),
        -- What could not be stored is among the missing ones.
        total_calls = least(processed_calls::bigint + greatest(v_missing - failed_calls, 0), 2147483647)
    where id = p_job_id;
    return query select * from historical_sync.job where id = p_job_id;
end
$$;
