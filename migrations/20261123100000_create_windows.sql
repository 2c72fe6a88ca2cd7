-- A job's range is cut into windows that page side by side. Each goes from its newest call to its oldest and keeps
-- its own checkpoint.
create table if not exists historical_sync.windows (
    id bigint generated always as identity primary key,
    job_id uuid not null references public.historical_sync_jobs (id) on delete cascade,
    -- [starts_at, ends_at); without starts_at there is no lower bound.
    starts_at timestamptz,
    ends_at timestamptz not null,
    -- The checkpoint: the query of the next page as the API gave it, and how far down the committed pages reach.
    -- Everything newer than position is done, and at that very instant the calls of position_call_ids.
    cursor text,
    position timestamptz,
    position_call_ids text[] not null default '{}',
    -- The API did not answer newest first: only the end of the pages ends this window, and nothing splits it.
    unordered boolean not null default false,
    finished_at timestamptz,
    constraint windows_range check (starts_at is null or starts_at < ends_at)
);

create index if not exists windows_of_job on historical_sync.windows (job_id);

alter table historical_sync.windows enable row level security;

-- For the claim: active jobs are few, finished ones many.
create index if not exists historical_sync_jobs_due
    on public.historical_sync_jobs ((coalesce(next_attempt_at, created_at)))
    where status in ('pending', 'in_progress');
