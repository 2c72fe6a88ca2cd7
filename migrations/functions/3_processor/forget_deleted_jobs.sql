-- Forgets which calls a job has been given when the job is deleted, as an agency takes its jobs with it. A page that is being
-- stored meanwhile is not in its way: who stores one holds the job at the end, or finds that it is gone.
create or replace function historical_sync.forget_deleted_jobs()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'TRUNCATE' then
        truncate historical_sync.listed_calls;
    else
        delete from historical_sync.listed_calls where job_id = old.id;
    end if;
    return null;
end
$$;
create or replace trigger historical_sync_jobs_forget_deleted
    after delete on public.historical_sync_jobs
    for each row execute function historical_sync.forget_deleted_jobs();
create or replace trigger historical_sync_jobs_forget_truncated
    after truncate on public.historical_sync_jobs
    for each statement execute function historical_sync.forget_deleted_jobs();
