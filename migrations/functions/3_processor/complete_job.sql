-- A job is complete when the API has said of each of its windows that nothing more is in it.
create or replace function historical_sync.complete_job(p_job_id uuid, p_fencing_token bigint)
returns setof historical_sync.job
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    perform historical_sync.refuse_unfinished_windows(p_job_id);
    update public.historical_sync_jobs
    set status = 'completed', completed_at = now(), total_calls = processed_calls, lease_expires_at = null,
        error_message = null
    where id = p_job_id;
    return query select * from historical_sync.job where id = p_job_id;
end
$$;
