-- Notes which calls a job has been given, with why one of them could not be stored and the window that has brought it.
-- Returns those that are to be counted: each once in a job, and those that could not be stored before and now are.
create or replace function historical_sync.note_listed_calls(
    p_job_id uuid,
    p_window_id bigint,
    p_call_ids text[],
    p_failures text[]
)
returns table (call_id text, cleared boolean)
language sql
set search_path = pg_catalog, pg_temp
as $$
    with listed as materialized (
        select *, case when failure is not null then p_window_id end as window_id
        from unnest(p_call_ids, p_failures) as listed (call_id, failure)
        order by call_id
    ),
    new as (
        insert into historical_sync.listed_calls as known (job_id, call_id, failure, window_id)
        select p_job_id, call_id, failure, window_id from listed
        on conflict do nothing
        returning known.call_id
    ),
    tried_again as (
        update historical_sync.listed_calls as known
        set failure = listed.failure, window_id = listed.window_id
        from listed
        where known.job_id = p_job_id and known.call_id = listed.call_id and known.failure is not null
        returning known.call_id, known.failure
    )
    select call_id, false from new
    union all
    select call_id, true from tried_again where failure is null
$$;
