-- On which days of a job's range fewer calls have arrived than Ultravox counts, as {"<day>": <its count>, …}; null where the
-- counts cannot be right. They cannot where they say that there is nothing while there is something. Days of an untold time
-- zone are others than ours: that one of them falls short means something only if all together do.
create or replace function historical_sync.find_short_days(
    p_job public.historical_sync_jobs,
    p_days date[],
    p_calls integer[],
    p_in_utc boolean
)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(short_days, '{}')
    from (
        select
            coalesce(sum(counted.calls), 0) as source_calls,
            coalesce(sum(stored.calls), 0) as stored_calls,
            jsonb_object_agg(day, counted.calls) filter (
                where counted.calls > coalesce(stored.calls, 0)
                    and not isempty(historical_sync.part_of_day(day, p_job.date_from, p_job.date_to))
            ) as short_days
        from unnest(p_days, p_calls) as counted (day, calls)
        full join historical_sync.stored_days(p_job.agency_id, p_job.date_from, p_job.date_to) as stored using (day)
    ) as compared
    where p_days is not null
        and (source_calls > 0 or p_job.processed_calls = 0)
        and (p_in_utc or short_days is null or source_calls > stored_calls)
$$;
