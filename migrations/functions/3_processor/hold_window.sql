-- Locks a window of a job for the rest of the transaction. Everybody locks the window first, then calls, then the job,
-- so that no two of a job's threads wait for each other.
create or replace function historical_sync.hold_window(p_job_id uuid, p_fencing_token bigint, p_window_id bigint)
returns historical_sync.windows
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_window historical_sync.windows;
begin
    select * into v_window from historical_sync.windows where id = p_window_id and job_id = p_job_id for update;
    if not found then
        -- It went with its job: the lease says so.
        perform historical_sync.hold_lease(p_job_id, p_fencing_token);
        raise exception 'job % has no window %', p_job_id, p_window_id;
    end if;
    return v_window;
end
$$;
