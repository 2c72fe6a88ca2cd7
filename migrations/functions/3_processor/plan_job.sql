-- Cuts a job's range, before its first page, into windows of about as many calls as Ultravox counts in each, and keeps the
-- counts of the days where they are days of UTC; returns the windows, the newest first. The seams are the instants between
-- them, the oldest first, so that the windows cover the range whatever they are.
create or replace function historical_sync.plan_job(
    p_job_id uuid,
    p_fencing_token bigint,
    p_window_id bigint,
    p_seams timestamptz[],
    p_planned_calls integer[],
    p_days date[],
    p_calls integer[],
    p_in_utc boolean
)
returns setof historical_sync.windows
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_window historical_sync.windows;
    v_job public.historical_sync_jobs;
begin
    select * into v_window from historical_sync.windows where id = p_window_id and job_id = p_job_id for update;
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    -- Without its window it has been planned, and the answer was lost.
    if v_window.id is not null then
        select * into v_job from public.historical_sync_jobs where id = p_job_id;
        if p_in_utc then
            perform historical_sync.keep_source_counts(v_job, p_days, p_calls);
        end if;
        perform set_config('search_path', historical_sync.path_for_triggers(), true);
        update public.historical_sync_jobs
        set total_calls = (select sum(calls) from unnest(p_planned_calls) as planned (calls))
        where id = p_job_id;
        delete from historical_sync.windows where id = p_window_id;
        insert into historical_sync.windows (job_id, starts_at, ends_at, planned_calls)
        select p_job_id, starts_at, ends_at, planned_calls
        from unnest(v_window.starts_at || p_seams, p_seams || v_window.ends_at, p_planned_calls)
            as planned (starts_at, ends_at, planned_calls);
    end if;
    return query select * from historical_sync.unfinished_windows(p_job_id);
end
$$;
