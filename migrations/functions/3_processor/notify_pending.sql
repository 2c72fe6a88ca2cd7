-- Wakes the processors that listen as soon as a job becomes pending, so that it need not wait for their next poll.
create or replace function historical_sync.notify_pending()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_notify('historical_sync_pending', '');
    return null;
end
$$;
create or replace trigger historical_sync_jobs_notify_pending
    after insert or update of status on public.historical_sync_jobs
    for each row when (new.status = 'pending')
    execute function historical_sync.notify_pending();
