-- Not in public: what is there, PostgREST serves. `if not exists` alone would ask for the right to create it also where
-- it exists.
do $$
begin
    if to_regnamespace('historical_sync') is null then
        create schema historical_sync;
    end if;
end
$$;

do $$
begin
    create type public.sync_job_status as enum ('pending', 'in_progress', 'completed', 'failed', 'cancelled');
exception when duplicate_object then
    null;
end
$$;

do $$
begin
    if to_regclass('public.historical_sync_jobs') is null then
        create table public.historical_sync_jobs (
            id uuid primary key default gen_random_uuid(),
            agency_id uuid not null references public.agencies (id) on delete cascade,
            date_from timestamptz,
            date_to timestamptz not null,
            status public.sync_job_status not null default 'pending',
            total_calls integer,
            processed_calls integer not null default 0,
            imported_calls integer not null default 0,
            skipped_calls integer not null default 0,
            failed_calls integer not null default 0,
            cursor text,
            error_message text,
            last_error_at timestamptz,
            max_calls integer default 100,
            created_at timestamptz not null default now(),
            started_at timestamptz,
            completed_at timestamptz,
            last_activity_at timestamptz
        );
        alter table public.historical_sync_jobs enable row level security;
    end if;
end
$$;

alter table public.historical_sync_jobs
    -- What the checks and indexes below need of an original table that lacks it.
    add column if not exists date_from timestamptz,
    add column if not exists total_calls integer,
    add column if not exists processed_calls integer not null default 0,
    add column if not exists imported_calls integer not null default 0,
    add column if not exists skipped_calls integer not null default 0,
    add column if not exists failed_calls integer not null default 0,
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists completed_at timestamptz,
    add column if not exists requested_by uuid,
    -- Counts claims.
    add column if not exists attempt integer not null default 0,
    -- A retry waits until then.
    add column if not exists next_attempt_at timestamptz,
    -- The lease: who holds the token of the newest claim may write until the lease ends.
    add column if not exists fencing_token bigint not null default 0,
    add column if not exists lease_expires_at timestamptz,
    -- Failures in a row without a page stored: the retry budget. A page gives it back.
    add column if not exists consecutive_failures integer not null default 0,
    -- Where this attempt began, for the estimate of its end.
    add column if not exists attempt_started_at timestamptz,
    add column if not exists attempt_processed_calls integer not null default 0;

-- An active job of an original table can have been finished before.
update public.historical_sync_jobs set completed_at = null
where completed_at is not null and status in ('pending', 'in_progress');

-- Invariants, named as facts. Not valid: rows that an original table brings along are left alone, every row
-- written from now on is checked.
do $$
declare
    v_check record;
begin
    for v_check in
        select *
        from (values
            ('sync_jobs_counts_positive',
             'coalesce(total_calls, 0) >= 0 and processed_calls >= 0 and imported_calls >= 0'
             ' and skipped_calls >= 0 and failed_calls >= 0'),
            ('sync_jobs_date_range', 'date_from is null or date_from < date_to'),
            ('sync_jobs_attempt_counted', 'attempt >= 0 and fencing_token >= 0'),
            ('sync_jobs_lease_only_in_progress', 'lease_expires_at is null or status = ''in_progress'''),
            ('sync_jobs_next_attempt_only_pending', 'next_attempt_at is null or status = ''pending'''),
            ('sync_jobs_completed_at_only_finished',
             'completed_at is null or status in (''completed'', ''failed'', ''cancelled'')')
        ) as checks (name, condition)
    loop
        if not exists (
            select from pg_catalog.pg_constraint
            where conrelid = 'public.historical_sync_jobs'::regclass and conname = v_check.name
        ) then
            execute 'alter table public.historical_sync_jobs add constraint ' || quote_ident(v_check.name)
                || ' check (' || v_check.condition || ') not valid';
        end if;
    end loop;
end
$$;

-- Only now that the checks are there can rows be told that break them.
do $$
begin
    alter table public.historical_sync_jobs validate constraint sync_jobs_counts_positive;
    alter table public.historical_sync_jobs validate constraint sync_jobs_date_range;
    alter table public.historical_sync_jobs validate constraint sync_jobs_attempt_counted;
    alter table public.historical_sync_jobs validate constraint sync_jobs_lease_only_in_progress;
    alter table public.historical_sync_jobs validate constraint sync_jobs_next_attempt_only_pending;
    alter table public.historical_sync_jobs validate constraint sync_jobs_completed_at_only_finished;
exception when check_violation then
    null;
end
$$;

do $$
declare
    v_agency_id uuid;
begin
    select agency_id into v_agency_id
    from public.historical_sync_jobs
    where status in ('pending', 'in_progress')
    group by agency_id
    having count(*) > 1
    limit 1;
    if found then
        raise exception using
            message = 'agency ' || v_agency_id || ' has several pending or in-progress jobs in historical_sync_jobs',
            hint = 'Set all but one of them to cancelled and migrate again.';
    end if;
end
$$;

-- The database decides, whatever races above it: one active job per agency.
create unique index if not exists historical_sync_jobs_one_active_per_agency
    on public.historical_sync_jobs (agency_id)
    where status in ('pending', 'in_progress');

-- Newest first, by keyset.
create index if not exists historical_sync_jobs_newest_by_agency
    on public.historical_sync_jobs (agency_id, created_at desc, id desc);
