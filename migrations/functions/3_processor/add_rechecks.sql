-- Adds a window for each day of a job that falls short, to page it once more, unless the job has had them. No more than the
-- newest 1,100: where more are short, the count is hardly right.
create or replace function historical_sync.add_rechecks(p_job public.historical_sync_jobs)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    insert into historical_sync.windows (job_id, starts_at, ends_at, planned_calls, is_recheck)
    select p_job.id, lower(part), upper(part), source_calls, true
    from historical_sync.short_days
    cross join historical_sync.part_of_day(day, p_job.date_from, p_job.date_to) as part
    where job_id = p_job.id
        and not exists (select from historical_sync.windows where job_id = p_job.id and is_recheck)
    order by day desc
    limit 1100
$$;
