-- Counts the calls that are still missing at the end of a job, on the days that fell short, and keeps the figure of each
-- day: a day of which the job covers all that was ever counted has no other missing calls. Of a day that it covers in part,
-- Ultravox has what is there and what is missing, at least.
create or replace function historical_sync.count_missing_calls(p_job public.historical_sync_jobs)
returns integer
language sql
set search_path = pg_catalog, pg_temp
as $$
    with missing as materialized (
        select day, short.source_calls - coalesce(stored.calls, 0) as calls
        from historical_sync.short_days as short
        left join historical_sync.stored_days(p_job.agency_id, p_job.date_from, p_job.date_to) as stored using (day)
        where short.job_id = p_job.id and short.source_calls > coalesce(stored.calls, 0)
    ),
    kept as (
        update historical_sync.source_days as known
        set missing_calls = coalesce(missing.calls, 0),
            source_calls = greatest(known.source_calls, stored.calls + missing.calls)
        from historical_sync.source_days as before
        left join missing using (day)
        left join lateral historical_sync.stored_days(
            p_job.agency_id, before.day::timestamp at time zone 'UTC', (before.day + 1)::timestamp at time zone 'UTC'
        ) as stored on missing.calls > 0
        where before.agency_id = p_job.agency_id and known.agency_id = before.agency_id and known.day = before.day
            and known.source_calls is not null
            and (known.missing_calls > 0 or missing.calls > 0)
            and not isempty(historical_sync.part_of_day(known.day, p_job.date_from, p_job.date_to))
            and (tstzrange(p_job.date_from, p_job.date_to) @> known.counted or missing.calls > known.missing_calls)
    )
    select least(coalesce(sum(calls), 0), 2147483647)::integer from missing
$$;
