-- How many jobs have ended and what they have brought, as rows to be added up: metrics() cannot look at every job that there
-- ever was. count_finished_job.sql fills it.
create table if not exists historical_sync.finished_jobs (
    status public.sync_job_status not null,
    jobs bigint not null,
    imported_calls bigint not null,
    skipped_calls bigint not null,
    failed_calls bigint not null
);

alter table historical_sync.finished_jobs enable row level security;

-- For claim_due_job(): the job that has been due the longest, without a look at all active ones.
create index if not exists historical_sync_jobs_due
    on public.historical_sync_jobs (coalesce(next_attempt_at, created_at))
    where status in ('pending', 'in_progress');
