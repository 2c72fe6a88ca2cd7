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

alter table public.historical_sync_jobs
    -- Failures in a row without a page stored: the retry budget. A page gives it back.
    add column if not exists consecutive_failures integer not null default 0,
    -- Where this attempt began, for the estimate of its end.
    add column if not exists attempt_started_at timestamptz,
    add column if not exists attempt_processed_calls integer not null default 0;

-- For the claim: active jobs are few, finished ones many.
create index if not exists historical_sync_jobs_due
    on public.historical_sync_jobs ((coalesce(next_attempt_at, created_at)))
    where status in ('pending', 'in_progress');

alter table public.calls
    -- When the API was asked: what was asked later wins.
    add column if not exists fetched_at timestamptz not null default now();

-- eta no longer moves between two pages, so that an ETag holds, and it counts this attempt only.
create or replace view historical_sync.job as
select
    id,
    agency_id,
    status::text as status,
    date_from,
    date_to,
    total_calls,
    processed_calls,
    imported_calls,
    skipped_calls,
    failed_calls,
    case
        when status = 'completed' then 100
        when total_calls > 0 then least(100, round(100.0 * processed_calls / total_calls))::integer
    end as progress_percent,
    case
        when status = 'in_progress'
            and processed_calls > attempt_processed_calls
            and total_calls >= processed_calls
            -- An estimate beyond a century is none.
            and extract(epoch from last_activity_at - attempt_started_at)::float8
                * ((total_calls - processed_calls)::float8 / (processed_calls - attempt_processed_calls))
                < 100 * 365.25 * 86400
        then
            last_activity_at + (last_activity_at - attempt_started_at)
                * ((total_calls - processed_calls)::float8 / (processed_calls - attempt_processed_calls))
    end as eta,
    requested_by,
    created_at,
    started_at,
    last_activity_at,
    completed_at,
    attempt,
    next_attempt_at,
    error_message
from public.historical_sync_jobs;
