-- What only the database knows, for a monitoring system. The sums of calls go down when jobs are deleted.
create or replace function historical_sync.metrics()
returns table (metric text, label text, value double precision)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform historical_sync.add_up_finished_jobs();
    return query
        with active as (
            select found.status, count(*) as jobs, sum(found.imported_calls) as imported_calls,
                sum(found.skipped_calls) as skipped_calls, sum(found.failed_calls) as failed_calls,
                min(found.created_at) as oldest
            from historical_sync.active_jobs as found
            group by found.status
        ),
        known as (
            select active.status, active.jobs, active.imported_calls, active.skipped_calls, active.failed_calls from active
            union all
            select * from historical_sync.finished_jobs
        )
        select 'jobs', statuses.status::text, coalesce(sum(known.jobs), 0)::double precision
        from unnest(enum_range(null::public.sync_job_status)) as statuses (status)
        left join known on known.status = statuses.status
        group by statuses.status
        union all
        select 'calls', outcome.label, coalesce(outcome.calls, 0)::double precision
        from (select sum(imported_calls) as imported, sum(skipped_calls) as skipped, sum(failed_calls) as failed from known) as calls
        cross join lateral (values ('imported', imported), ('skipped', skipped), ('failed', failed)) as outcome (label, calls)
        union all
        select 'oldest_pending_job_seconds', '',
            coalesce(extract(epoch from now() - min(oldest)), 0)::double precision
        from active
        where active.status = 'pending'
        union all
        select 'ultravox_requests', requests.status::text, requests.requests::double precision
        from historical_sync.ultravox_requests as requests;
end
$$;
