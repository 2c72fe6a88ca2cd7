-- Goes back to where a window's committed pages end, for an API that has forgotten the cursor. An unordered window
-- has no such place and starts afresh.
create or replace function historical_sync.rewind_window(p_job_id uuid, p_fencing_token bigint, p_window_id bigint)
returns setof historical_sync.windows
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The window before the job, as everybody else: no two of a job's threads wait for each other.
    perform from historical_sync.windows where id = p_window_id and job_id = p_job_id for update;
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    return query
        update historical_sync.windows
        set cursor = null, position = case when unordered then null else position end
        where id = p_window_id and job_id = p_job_id
        returning *;
end
$$;
