-- Stores what a job has been given, all at once. Where one call is in the way of the others they are stored singly, if
-- that is asked for, and else not at all: then there is no row.
create or replace function historical_sync.store_calls(
    p_job public.historical_sync_jobs,
    p_window_id bigint,
    p_calls text[],
    p_singly boolean,
    p_fetched_at timestamptz
)
returns table (imported integer, skipped integer, failed_call_ids text[], cleared integer)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    begin
        select * into imported, skipped, failed_call_ids, cleared
        from historical_sync.store_calls_at_once(p_job, p_window_id, p_calls, p_fetched_at);
    exception when others then
        if not historical_sync.blames_row(sqlstate) then
            raise;
        elsif not p_singly then
            return;
        end if;
        select * into imported, skipped, failed_call_ids, cleared
        from historical_sync.store_calls_singly(p_job, p_window_id, p_calls, p_fetched_at);
    end;
    return next;
end
$$;
