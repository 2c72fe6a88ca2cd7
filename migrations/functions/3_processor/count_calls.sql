-- Adds to the counters of a job, which the caller has locked, what a page has brought; that is progress, and a heartbeat.
create or replace function historical_sync.count_calls(
    p_job_id uuid,
    p_imported integer,
    p_skipped integer,
    p_failed integer,
    p_total integer,
    p_is_progress boolean,
    p_lease interval
)
returns table (processed_calls integer, total_calls integer)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    return query
    update public.historical_sync_jobs as job
    set processed_calls = job.processed_calls + p_imported + p_skipped + p_failed,
        imported_calls = job.imported_calls + p_imported,
        skipped_calls = job.skipped_calls + p_skipped,
        failed_calls = job.failed_calls + p_failed,
        -- Where there are more than were told of.
        total_calls = case
            when coalesce(job.total_calls, p_total) is not null
            then greatest(coalesce(job.total_calls, p_total), job.processed_calls + p_imported + p_skipped + p_failed)
        end,
        last_activity_at = clock_timestamp(),
        lease_expires_at = clock_timestamp() + p_lease,
        consecutive_failures = case when p_is_progress then 0 else job.consecutive_failures end,
        error_message = case when p_is_progress then null else job.error_message end
    where job.id = p_job_id
    returning job.processed_calls, job.total_calls;
end
$$;
