-- Counts the calls that are still missing at the end of a job, on the days that fell short, and keeps the figure of each
-- day: a day of which the job covers all that was ever counted has no other missing calls.
create or replace function historical_sync.count_missing_calls(p_job public.historical_sync_jobs)
returns integer
language sql
set search_path = pg_catalog, pg_temp
as $$
    with missing as materialized (
        select day, short.source_calls - count(known.created_at) as calls
        from historical_sync.short_days as short
        cross join historical_sync.part_of_day(day, p_job.date_from, p_job.date_to) as part
        left join public.calls as known
            on known.agency_id = p_job.agency_id and known.created_at >= lower(part) and known.created_at < upper(part)
        where short.job_id = p_job.id
        group by day, short.source_calls
        having short.source_calls > count(known.created_at)
    ),
    kept as (
        update historical_sync.source_days as known
        set missing_calls = coalesce(missing.calls, 0)
        from historical_sync.source_days as before
        left join missing using (day)
        where before.agency_id = p_job.agency_id and known.agency_id = before.agency_id and known.day = before.day
            and known.missing_calls <> coalesce(missing.calls, 0)
            and not isempty(historical_sync.part_of_day(known.day, p_job.date_from, p_job.date_to))
            and (tstzrange(p_job.date_from, p_job.date_to) @> known.counted or missing.calls > known.missing_calls)
    )
    select least(coalesce(sum(calls), 0), 2147483647)::integer from missing
$$;
