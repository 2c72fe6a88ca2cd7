-- Gives the job back unharmed, for the next processor to go on at once.
create or replace function historical_sync.release_job(p_job_id uuid, p_fencing_token bigint)
returns setof historical_sync.job
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    update public.historical_sync_jobs set status = 'pending', lease_expires_at = null where id = p_job_id;
    return query select * from historical_sync.job where id = p_job_id;
end
$$;
