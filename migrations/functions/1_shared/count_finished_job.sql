-- Notes in finished_jobs what ends, is resumed, changed or deleted. A row each time, and no sum that is updated: jobs that
-- end at the same moment would wait for one another.
create or replace function historical_sync.count_finished_job()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'TRUNCATE' then
        truncate historical_sync.finished_jobs;
        return null;
    end if;
    if tg_op <> 'INSERT' and old.status not in ('pending', 'in_progress') then
        insert into historical_sync.finished_jobs
        values (
            old.status,
            -1,
            -coalesce(old.imported_calls, 0),
            -coalesce(old.skipped_calls, 0),
            -coalesce(old.failed_calls, 0)
        );
    end if;
    if tg_op <> 'DELETE' and new.status not in ('pending', 'in_progress') then
        insert into historical_sync.finished_jobs
        values (
            new.status,
            1,
            coalesce(new.imported_calls, 0),
            coalesce(new.skipped_calls, 0),
            coalesce(new.failed_calls, 0)
        );
    end if;
    return null;
end
$$;

-- Once, with the jobs that are there: nobody can write to the table between the triggers and the count.
do $do$
begin
    if exists (select from pg_catalog.pg_trigger where tgname = 'historical_sync_jobs_finished_inserted') then
        return;
    end if;
    create trigger historical_sync_jobs_finished_inserted
        after insert on public.historical_sync_jobs
        for each row when (new.status not in ('pending', 'in_progress'))
        execute function historical_sync.count_finished_job();
    create trigger historical_sync_jobs_finished_updated
        after update of status, imported_calls, skipped_calls, failed_calls on public.historical_sync_jobs
        for each row when (old.status not in ('pending', 'in_progress') or new.status not in ('pending', 'in_progress'))
        execute function historical_sync.count_finished_job();
    create trigger historical_sync_jobs_finished_deleted
        after delete on public.historical_sync_jobs
        for each row when (old.status not in ('pending', 'in_progress'))
        execute function historical_sync.count_finished_job();
    create trigger historical_sync_jobs_finished_truncated
        after truncate on public.historical_sync_jobs
        for each statement execute function historical_sync.count_finished_job();
    insert into historical_sync.finished_jobs
    select
        status,
        count(*),
        coalesce(sum(imported_calls), 0),
        coalesce(sum(skipped_calls), 0),
        coalesce(sum(failed_calls), 0)
    from public.historical_sync_jobs
    where status not in ('pending', 'in_progress')
    group by status;
end
$do$;
