-- Cuts a window into two halves of time, each a query of its own that starts afresh, and returns both, the newer first;
-- nothing where it cannot be cut. What the window has listed already is listed again and counted once.
create or replace function historical_sync.cut_window(
    p_job_id uuid,
    p_fencing_token bigint,
    p_window_id bigint,
    p_to_the_second boolean
)
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
    v_seam timestamptz;
begin
    v_window := historical_sync.hold_window(p_job_id, p_fencing_token, p_window_id);
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    v_oldest := coalesce(v_window.starts_at, c_epoch);
    -- No call has been made yet in the future, unless the window is all there.
    v_seam := historical_sync.seam_of(
        v_oldest,
        case when now() > v_oldest then least(v_window.ends_at, now()) else v_window.ends_at end,
        p_to_the_second
    );
    if v_window.finished_at is not null or v_seam is null then
        return;
    end if;

    return query
        update historical_sync.windows
        set starts_at = v_seam, cursor = null, planned_calls = null
        where id = p_window_id
        returning *;
    return query
        insert into historical_sync.windows (job_id, starts_at, ends_at, is_recheck)
        values (p_job_id, v_window.starts_at, v_seam, v_window.is_recheck)
        returning *;
end
$$;
