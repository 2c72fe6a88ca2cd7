-- Counts a call that Postgres has refused with an SQLSTATE, once in a job.
create or replace function historical_sync.note_failed_call(
    p_job_id uuid,
    p_window_id bigint,
    p_call text,
    p_sqlstate text
)
returns table (imported integer, skipped integer, failed_call_ids text[], cleared integer)
language sql
set search_path = pg_catalog, pg_temp
as $$
    select 0, 0, coalesce(array_agg(left(call_id, 100)), '{}'), 0
    from historical_sync.note_listed_calls(
        p_job_id,
        p_window_id,
        array[historical_sync.id_in(p_call)],
        array[
            case left(p_sqlstate, 2)
                when '22' then 'The call holds a value that cannot be stored.'
                when '23' then 'The call breaks a rule of the database: a constraint of the table calls.'
                when '54' then 'The call is too large or too deeply nested to be stored.'
                else 'The call is refused by a rule of the database: a trigger of the table calls.'
            end
        ]
    )
$$;
