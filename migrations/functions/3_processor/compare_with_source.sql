-- Compares what Ultravox counts with what has arrived, day by day, once all windows of a job are finished. Returns a window
-- for each day that falls short, to be paged once more; none where that has been done. Without counts, or with such as
-- cannot be right, the job will end unverified unless it has been compared before.
create or replace function historical_sync.compare_with_source(
    p_job_id uuid,
    p_fencing_token bigint,
    p_days date[],
    p_calls integer[],
    p_in_utc boolean,
    p_lease interval
)
returns setof historical_sync.windows
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_job public.historical_sync_jobs;
    v_short_days jsonb;
begin
    select * into v_job from public.historical_sync_jobs where id = p_job_id;
    -- Before the job is locked, for it takes its time with many calls, and people want to cancel.
    v_short_days := historical_sync.find_short_days(v_job, p_days, p_calls, p_in_utc);
    perform historical_sync.heartbeat(p_job_id, p_fencing_token, p_lease);
    perform historical_sync.refuse_unfinished_windows(p_job_id);
    if v_short_days is not null then
        perform historical_sync.keep_source_counts(v_job, p_days, p_calls);
        delete from historical_sync.short_days where job_id = p_job_id;
        insert into historical_sync.short_days (job_id, day, source_calls)
        select p_job_id, key::date, value::integer from jsonb_each_text(v_short_days) order by key::date;
        perform historical_sync.add_rechecks(v_job);
        perform set_config('search_path', historical_sync.path_for_triggers(), true);
        update public.historical_sync_jobs set source_compared_at = now() where id = p_job_id;
    else
        perform historical_sync.note_uncounted_days(v_job);
    end if;
    return query select * from historical_sync.unfinished_windows(p_job_id);
end
$$;
