-- As metrics(): whether imports are complete. A function of its own, because the web service of the release before knows no
-- other metrics than it has and runs on while a deploy is under way.
create or replace function historical_sync.source_metrics()
returns table (metric text, label text, value double precision)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select source.metric, '', source.value::double precision
    from (
        select coalesce(sum(missing_calls), 0) as missing_calls,
            count(*) filter (where source_calls is null) as unverified_days
        from historical_sync.source_days
        where source_calls is null or missing_calls > 0
    ) as days
    cross join lateral (
        values ('missing_calls', days.missing_calls), ('unverified_days', days.unverified_days)
    ) as source (metric, value)
$$;
