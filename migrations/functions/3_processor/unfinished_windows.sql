-- What is left to import of a job, the newest calls first: people look at those first.
create or replace function historical_sync.unfinished_windows(p_job_id uuid)
returns setof historical_sync.windows
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select * from historical_sync.windows where job_id = p_job_id and finished_at is null order by ends_at desc
$$;
