-- What Ultravox itself counts, to compare with what has arrived. A day is one of UTC.
create table if not exists historical_sync.source_days (
    agency_id uuid not null references public.agencies (id) on delete cascade,
    day date not null,
    -- Null where calls have arrived and Ultravox could not be asked how many there are.
    source_calls integer,
    -- Which part of the day has been counted: a job's range can begin or end in it.
    counted tstzrange not null default 'empty',
    counted_at timestamptz,
    -- How many of them were not there when an import of the day ended.
    missing_calls integer not null default 0,
    primary key (agency_id, day),
    constraint source_days_counts_positive check (source_calls >= 0 and missing_calls >= 0),
    constraint source_days_counted_or_not
        check ((source_calls is null) = isempty(counted) and (source_calls is null) = (counted_at is null))
);

-- For the metrics: such days are few.
create index if not exists source_days_not_complete
    on historical_sync.source_days (agency_id)
    where source_calls is null or missing_calls > 0;

alter table historical_sync.source_days enable row level security;

-- The days of a job on which fewer calls had arrived than Ultravox counted, and so were paged once more.
create table if not exists historical_sync.short_days (
    job_id uuid not null references public.historical_sync_jobs (id) on delete cascade,
    day date not null,
    -- Within the job's range.
    source_calls integer not null,
    primary key (job_id, day)
);

alter table historical_sync.short_days enable row level security;

alter table historical_sync.windows
    -- How many calls Ultravox counts in it; null where it was not planned.
    add column if not exists planned_calls integer,
    -- It pages a short day once more.
    add column if not exists is_recheck boolean not null default false;

alter table historical_sync.listed_calls
    -- Which window has brought a call that could not be stored: a resume pages it again.
    add column if not exists window_id bigint;

-- Calls that could not be stored are few, and those that were are many.
create index if not exists listed_calls_failed
    on historical_sync.listed_calls (job_id, call_id)
    where failure is not null;

alter table public.historical_sync_jobs
    add column if not exists verification text,
    add column if not exists missing_calls integer,
    -- When Ultravox last counted the calls of the job's range, and when its counts were compared with what has arrived.
    add column if not exists source_counted_at timestamptz,
    add column if not exists source_compared_at timestamptz;

do $$
declare
    v_check record;
begin
    for v_check in
        select *
        from (values
            ('sync_jobs_verification_known', 'verification in (''verified'', ''gaps'', ''unverified'')'),
            ('sync_jobs_verified_only_completed', 'verification is null or status = ''completed'''),
            ('sync_jobs_missing_calls_in_gaps', 'coalesce(missing_calls > 0, false) = coalesce(verification = ''gaps'', false)')
        ) as checks (name, condition)
    loop
        if not exists (
            select from pg_catalog.pg_constraint
            where conrelid = 'public.historical_sync_jobs'::regclass and conname = v_check.name
        ) then
            execute 'alter table public.historical_sync_jobs add constraint ' || quote_ident(v_check.name)
                || ' check (' || v_check.condition || ')';
        end if;
    end loop;
end
$$;
