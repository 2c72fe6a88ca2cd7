-- As store_calls_at_once(), for a page with a call in it that cannot be stored: finds out which, and stores the rest.
create or replace function historical_sync.store_calls_singly(
    p_job public.historical_sync_jobs,
    p_window_id bigint,
    p_calls text[],
    p_fetched_at timestamptz
)
returns table (imported integer, skipped integer, failed_call_ids text[], cleared integer)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_call text;
    v_one record;
begin
    imported := 0;
    skipped := 0;
    failed_call_ids := '{}';
    cleared := 0;
    -- In one order for everybody, as far as the ids can be read.
    for v_call in select call from unnest(p_calls) as calls (call) order by historical_sync.id_in(call), call loop
        begin
            select * into v_one from historical_sync.store_calls_at_once(p_job, p_window_id, array[v_call], p_fetched_at);
        exception when others then
            if not historical_sync.blames_row(sqlstate) then
                raise;
            end if;
            select * into v_one from historical_sync.note_failed_call(p_job.id, p_window_id, v_call, sqlstate);
        end;
        imported := imported + v_one.imported;
        skipped := skipped + v_one.skipped;
        cleared := cleared + v_one.cleared;
        failed_call_ids := failed_call_ids || v_one.failed_call_ids;
    end loop;
    return next;
end
$$;
