-- Notes on which days of a job's range fewer calls have arrived than Ultravox counts, and forgets those noted before.
create or replace function historical_sync.note_short_days(
    p_job public.historical_sync_jobs,
    p_days date[],
    p_calls integer[]
)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    delete from historical_sync.short_days where job_id = p_job.id;
    insert into historical_sync.short_days (job_id, day, source_calls)
    select p_job.id, day, counted.calls
    from unnest(p_days, p_calls) as counted (day, calls)
    left join historical_sync.stored_days(p_job.agency_id, p_job.date_from, p_job.date_to) as stored using (day)
    where counted.calls > coalesce(stored.calls, 0)
        and not isempty(historical_sync.part_of_day(day, p_job.date_from, p_job.date_to))
    order by day
$$;
