-- Starts a window afresh, for an API that has forgotten the cursor.
create or replace function historical_sync.restart_window(p_job_id uuid, p_fencing_token bigint, p_window_id bigint)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform historical_sync.hold_window(p_job_id, p_fencing_token, p_window_id);
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    update historical_sync.windows set cursor = null where id = p_window_id;
end
$$;
