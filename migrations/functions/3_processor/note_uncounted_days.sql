-- Notes the days on which calls have arrived and Ultravox could not be asked how many there are.
create or replace function historical_sync.note_uncounted_days(p_job public.historical_sync_jobs)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    insert into historical_sync.source_days (agency_id, day)
    select p_job.agency_id, day
    from historical_sync.stored_days(p_job.agency_id, p_job.date_from, p_job.date_to)
    order by day
    on conflict (agency_id, day) do nothing
$$;
