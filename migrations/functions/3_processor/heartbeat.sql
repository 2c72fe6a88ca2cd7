-- Renews a lease before it runs out; one that has run out is lost, even if nobody else has claimed the job yet.
create or replace function historical_sync.heartbeat(p_job_id uuid, p_fencing_token bigint, p_lease interval)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    update public.historical_sync_jobs set lease_expires_at = clock_timestamp() + p_lease where id = p_job_id;
end
$$;
