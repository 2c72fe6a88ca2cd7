-- Stores a page: its calls, the window's checkpoint, the job's counters and a heartbeat, all or nothing. p_calls are
-- the texts of its calls, p_next the query of the page after it, null at the end: only the API's word ends a window.
-- p_age is how long ago the API was asked, by the asker's stopwatch: the time itself is the database's. The same page
-- again counts nothing twice. A page with a call that is refused is stored without that one if p_singly, and else not at
-- all: then there is no row.
create or replace function historical_sync.commit_page(
    p_job_id uuid,
    p_fencing_token bigint,
    p_window_id bigint,
    p_age interval,
    p_calls text[],
    p_singly boolean,
    p_next text,
    p_total integer,
    p_lease interval
)
returns table (
    imported integer,
    skipped integer,
    failed_call_ids text[],
    processed_calls integer,
    total_calls integer
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_window historical_sync.windows;
    v_job public.historical_sync_jobs;
    v_cleared integer;
    v_fetched_at timestamptz := clock_timestamp() - greatest(p_age, interval '0');
begin
    v_window := historical_sync.hold_window(p_job_id, p_fencing_token, p_window_id);
    select * into v_job from public.historical_sync_jobs where id = p_job_id;

    select * into imported, skipped, failed_call_ids, v_cleared
    from historical_sync.store_calls(v_job, p_window_id, p_calls, p_singly, v_fetched_at);
    if not found then
        return;
    end if;

    update historical_sync.windows
    set cursor = p_next, finished_at = case when p_next is null then now() end
    where id = p_window_id;

    -- Only now, and so for as short as can be: the windows of a job take turns at its row.
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    select * into processed_calls, total_calls
    from historical_sync.count_calls(
        p_job_id, imported, skipped, cardinality(failed_call_ids) - v_cleared,
        historical_sync.told_total(v_job, v_window, p_calls, p_total),
        -- The same first page once more, after a forgotten cursor, is none.
        imported + skipped + cardinality(failed_call_ids) > 0 or p_next is null or v_window.cursor is not null,
        p_lease
    );
    return next;
end
$$;
