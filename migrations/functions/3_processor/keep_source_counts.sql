-- Keeps how many calls Ultravox counts on each day of a job's range; on a day that it does not list, there are none. Days
-- without calls that nobody has ever counted any on need no row: that the job was counted says it.
create or replace function historical_sync.keep_source_counts(
    p_job public.historical_sync_jobs,
    p_days date[],
    p_calls integer[]
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into historical_sync.source_days as known (agency_id, day, source_calls, counted, counted_at)
    select p_job.agency_id, day, coalesce(listed.calls, 0), part, now()
    from unnest(p_days, p_calls) as listed (day, calls)
    full join (select day from historical_sync.source_days where agency_id = p_job.agency_id) as before using (day)
    cross join historical_sync.part_of_day(day, p_job.date_from, p_job.date_to) as part
    where not isempty(part)
    order by day
    on conflict (agency_id, day) do update
    set source_calls = excluded.source_calls, counted = excluded.counted, counted_at = excluded.counted_at
    -- A count of less of the day says only how many there are at least.
    where excluded.counted @> known.counted or excluded.source_calls > known.source_calls;

    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    update public.historical_sync_jobs set source_counted_at = now() where id = p_job.id;
end
$$;
