-- Gives the older half of what a window has left to a window of its own and returns it, or nothing where there is
-- nothing to share. Halves of time, not of calls: an empty half costs one request, and a history of one day in three
-- years is found in ten.
create or replace function historical_sync.split_window(p_job_id uuid, p_fencing_token bigint, p_window_id bigint)
returns setof historical_sync.windows
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    -- No call is older; only a bound for halving, for a window without one.
    c_epoch constant timestamptz := '2023-01-01 00:00:00+00';
    v_window historical_sync.windows;
    v_oldest timestamptz;
    v_newest timestamptz;
    v_middle timestamptz;
begin
    select * into strict v_window from historical_sync.windows
    where id = p_window_id and job_id = p_job_id
    for update;
    v_oldest := coalesce(v_window.starts_at, c_epoch);
    v_newest := least(v_window.position, v_window.ends_at);
    if v_window.finished_at is not null or v_window.unordered or v_newest - v_oldest < interval '1 second' then
        return;
    end if;
    v_middle := v_oldest + (v_newest - v_oldest) / 2;

    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    update historical_sync.windows set starts_at = v_middle where id = p_window_id;
    return query
        insert into historical_sync.windows (job_id, starts_at, ends_at)
        values (p_job_id, v_window.starts_at, v_middle)
        returning *;
end
$$;
