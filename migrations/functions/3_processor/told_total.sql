-- How many calls a job will have, where a page tells it; else null. Only the first answer to a query for the whole range
-- can, and some tell less than they list.
create or replace function historical_sync.told_total(
    p_job public.historical_sync_jobs,
    p_window historical_sync.windows,
    p_calls text[],
    p_total integer
)
returns integer
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select p_total
    where p_window.cursor is null
        and p_window.starts_at is not distinct from p_job.date_from
        and p_window.ends_at = p_job.date_to
        and p_total >= cardinality(p_calls)
$$;
