-- Gives a job that has no windows one for its whole range. Such a job is at its beginning, and so are its counts: an
-- original table's job, or one that an earlier release left unfinished, can have some.
create or replace function historical_sync.open_window(p_job_id uuid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from historical_sync.windows where job_id = p_job_id) then
        return;
    end if;
    insert into historical_sync.windows (job_id, starts_at, ends_at)
    select id, date_from, date_to from public.historical_sync_jobs where id = p_job_id;
    delete from historical_sync.listed_calls where job_id = p_job_id;
    delete from historical_sync.short_days where job_id = p_job_id;
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    update public.historical_sync_jobs
    set total_calls = null, processed_calls = 0, imported_calls = 0, skipped_calls = 0, failed_calls = 0,
        source_counted_at = null, source_compared_at = null
    where id = p_job_id;
end
$$;
