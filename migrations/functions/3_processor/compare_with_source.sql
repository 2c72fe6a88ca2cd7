-- Compares what Ultravox counts with what has arrived, day by day, once all windows of a job are finished. Returns a window
-- for each day that falls short, to be paged once more; none where that has been done. Without counts, or where they say
-- that there is nothing while there is something, the job will end unverified unless it has been compared before.
create or replace function historical_sync.compare_with_source(
    p_job_id uuid,
    p_fencing_token bigint,
    p_days date[],
    p_calls integer[],
    p_lease interval
)
returns setof historical_sync.windows
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_job public.historical_sync_jobs;
begin
    perform historical_sync.heartbeat(p_job_id, p_fencing_token, p_lease);
    perform historical_sync.refuse_unfinished_windows(p_job_id);
    select * into v_job from public.historical_sync_jobs where id = p_job_id;
    if p_days is null or (v_job.processed_calls > 0 and 0 = all (p_calls)) then
        perform historical_sync.note_uncounted_days(v_job);
        return;
    end if;
    perform historical_sync.keep_source_counts(v_job, p_days, p_calls);
    perform historical_sync.note_short_days(v_job, p_days, p_calls);
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    update public.historical_sync_jobs set source_compared_at = now() where id = p_job_id;
    if not exists (select from historical_sync.windows where job_id = p_job_id and is_recheck) then
        insert into historical_sync.windows (job_id, starts_at, ends_at, is_recheck)
        select p_job_id, lower(part), upper(part), true
        from historical_sync.short_days
        cross join historical_sync.part_of_day(day, v_job.date_from, v_job.date_to) as part
        where job_id = p_job_id;
    end if;
    return query select * from historical_sync.unfinished_windows(p_job_id);
end
$$;
