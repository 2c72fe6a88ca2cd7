-- What has arrived of an agency's calls and how many Ultravox counts, for each day of a range, in UTC, from its first to its
-- last day. Without these: from the first day with a call, though no more than 1,100 days, to today.
create or replace function historical_sync.coverage(p_agency_id uuid, p_first_day date, p_last_day date)
returns table (day date, stored integer, source integer, state text, checked_at timestamptz)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    with bounds as (
        select coalesce(
                p_first_day,
                greatest('0001-01-01', last_day - 1099, least(last_day, first_stored, first_counted))
            ) as first_day,
            last_day
        from coalesce(p_last_day, (now() at time zone 'UTC')::date) as last_day
        cross join (
            select (min(created_at) at time zone 'UTC')::date as first_stored
            from public.calls
            where agency_id = p_agency_id and created_at >= '0001-01-01 00:00:00+00'
        ) as calls
        cross join (
            select min(day) as first_counted
            from historical_sync.source_days
            where agency_id = p_agency_id and source_calls > 0
        ) as source
    ),
    -- What is not listed for a day on which calls were counted is nothing.
    counted as (
        select range_agg(tstzrange(date_from, date_to)) as ranges, max(source_counted_at) as last_at
        from public.historical_sync_jobs
        cross join bounds
        where agency_id = p_agency_id and source_counted_at is not null
            and date_to > first_day::timestamp at time zone 'UTC'
            and (date_from < (last_day + 1)::timestamp at time zone 'UTC' or date_from is null)
    )
    select first_day + number, coalesce(stored.calls, 0), shown.source,
        case when shown.source is null then 'unverified' when shown.source > coalesce(stored.calls, 0) then 'missing'
            else 'complete' end,
        case when shown.source is not null then greatest(known.counted_at, counted.last_at) end
    from bounds
    cross join counted
    cross join generate_series(0, last_day - first_day) as number
    cross join lateral (
        select (first_day + number)::timestamp at time zone 'UTC' as midnight,
            (first_day + number + 1)::timestamp at time zone 'UTC' as next_midnight
    ) as bounds_of_day
    left join historical_sync.stored_days(
        p_agency_id, first_day::timestamp at time zone 'UTC', (last_day + 1)::timestamp at time zone 'UTC'
    ) as stored on stored.day = first_day + number
    left join historical_sync.source_days as known on known.agency_id = p_agency_id and known.day = first_day + number
    cross join lateral (
        select coalesce(
            known.source_calls,
            case when ranges && tstzrange(midnight, next_midnight) then 0 end
        ) as source
    ) as shown
$$;
