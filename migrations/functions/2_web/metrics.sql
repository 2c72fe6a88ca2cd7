-- What only the database knows, for a monitoring system. The sums of calls go down when jobs are deleted.
create or replace function historical_sync.metrics()
returns table (metric text, label text, value double precision)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select 'jobs', statuses.status::text, count(job.id)::double precision
    from unnest(enum_range(null::public.sync_job_status)) as statuses (status)
    left join public.historical_sync_jobs as job on job.status = statuses.status
    group by statuses.status
    union all
    select 'oldest_pending_job_seconds', '', coalesce(extract(epoch from now() - min(created_at)), 0)
    from public.historical_sync_jobs
    where status = 'pending'
    union all
    select sums.*
    from (
        select
            coalesce(sum(imported_calls), 0) as imported,
            coalesce(sum(skipped_calls), 0) as skipped,
            coalesce(sum(failed_calls), 0) as failed
        from public.historical_sync_jobs
    ) as total
    cross join lateral (
        values
            ('calls', 'imported', total.imported::double precision),
            ('calls', 'skipped', total.skipped::double precision),
            ('calls', 'failed', total.failed::double precision)
    ) as sums
    union all
    select 'ultravox_requests', status::text, requests::double precision
    from historical_sync.ultravox_requests
$$;
