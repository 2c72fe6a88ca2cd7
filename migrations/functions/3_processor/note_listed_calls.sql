-- Notes which calls a job has been given, with why one of them could not be stored and the window that has brought it.
-- Returns those that are to be counted: each once in a job, and those that could not be stored before and now are.
-- The plan is made while the tables may be small, and kept while they grow: none is ever to be read as a whole.
create or replace function historical_sync.note_listed_calls(
    p_job_id uuid,
    p_window_id bigint,
    p_call_ids text[],
    p_failures text[]
)
returns table (call_id text, cleared boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_new integer;
begin
    return query
        insert into historical_sync.listed_calls as known (job_id, call_id, failure, window_id)
        select p_job_id, call_id, failure, case when failure is not null then p_window_id end
        from unnest(p_call_ids, p_failures) as listed (call_id, failure)
        order by call_id
        on conflict do nothing
        returning known.call_id, false;
    get diagnostics v_new = row_count;
    if v_new < cardinality(p_call_ids) then
        return query
            with tried_again as (
                update historical_sync.listed_calls as known
                set failure = listed.failure, window_id = case when listed.failure is not null then p_window_id end
                from unnest(p_call_ids, p_failures) as listed (call_id, failure)
                where known.job_id = p_job_id and known.call_id = listed.call_id and known.failure is not null
                returning known.call_id, known.failure
            )
            select call_id, true from tried_again where failure is null;
    end if;
end
$$;
