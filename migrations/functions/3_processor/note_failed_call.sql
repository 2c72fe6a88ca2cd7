-- Counts a call that Postgres has refused with an SQLSTATE, once in a job.
create or replace function historical_sync.note_failed_call(p_job_id uuid, p_call text, p_sqlstate text)
returns table (imported integer, skipped integer, failed_call_ids text[])
language sql
set search_path = pg_catalog, pg_temp
as $$
    with counted as (
        insert into historical_sync.listed_calls as known (job_id, call_id, failure)
        values (
            p_job_id,
            historical_sync.id_in(p_call),
            case left(p_sqlstate, 2)
                when '22' then 'The call holds a value that cannot be stored.'
                when '23' then 'The call breaks a rule of the table calls.'
                when '54' then 'The call is too large or too deeply nested to be stored.'
                else 'A trigger of the table calls refuses the call.'
            end
        )
        on conflict do nothing
        returning known.call_id
    )
    select 0, 0, coalesce(array_agg(left(call_id, 100)), '{}') from counted
$$;
