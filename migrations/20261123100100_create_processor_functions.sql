-- The life of a job, a function per transition. Those of a processor name the fencing token of its claim and fail
-- with SQLSTATE HS001 where the lease is over: run out, claimed by another, or the job cancelled.

create or replace function historical_sync.notify_pending()
returns trigger
language plpgsql
set search_path = ''
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

-- Claims the job that has been due the longest, so that no agency waits behind another's retries. A lease that has
-- run out is due too.
create or replace function historical_sync.claim_job(p_lease interval)
returns table (
    job_id uuid,
    agency_id uuid,
    fencing_token bigint,
    page_size integer,
    api_key_encrypted bytea,
    date_from timestamptz,
    date_to timestamptz
)
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_job public.historical_sync_jobs;
begin
    update public.historical_sync_jobs as job
    set status = 'in_progress',
        fencing_token = job.fencing_token + 1,
        attempt = job.attempt + 1,
        lease_expires_at = clock_timestamp() + p_lease,
        next_attempt_at = null,
        started_at = coalesce(job.started_at, now()),
        last_activity_at = now(),
        attempt_started_at = now(),
        attempt_processed_calls = job.processed_calls
    where job.id = (
        select due.id
        from public.historical_sync_jobs as due
        where due.status in ('pending', 'in_progress')
            and coalesce(due.next_attempt_at, due.created_at) <= now()
            and (due.status = 'pending' or due.lease_expires_at is null or due.lease_expires_at <= clock_timestamp())
        order by coalesce(due.next_attempt_at, due.created_at)
        limit 1
        for update skip locked
    )
    returning job.* into v_job;
    if not found then
        return;
    end if;

    insert into historical_sync.windows (job_id, starts_at, ends_at)
    select v_job.id, v_job.date_from, v_job.date_to
    where not exists (select from historical_sync.windows as planned where planned.job_id = v_job.id);

    return query
        select v_job.id, v_job.agency_id, v_job.fencing_token, coalesce(v_job.max_calls, 100),
            agency.ultravox_api_key_encrypted, v_job.date_from, v_job.date_to
        from public.agencies as agency
        where agency.id = v_job.agency_id;
end
$$;

-- Locks the job for the rest of the transaction.
create or replace function historical_sync.hold_lease(p_job_id uuid, p_fencing_token bigint)
returns void
language plpgsql
set search_path = ''
as $$
begin
    perform from public.historical_sync_jobs
    where id = p_job_id and fencing_token = p_fencing_token and lease_expires_at > clock_timestamp()
    for update;
    if not found then
        raise exception using
            errcode = 'HS001',
            message = 'the lease on this job is over',
            -- What has become of the job, for the one that has lost it.
            detail = coalesce(
                (
                    select json_build_object(
                        'status', status, 'imported', imported_calls, 'skipped', skipped_calls, 'failed', failed_calls
                    )
                    from public.historical_sync_jobs
                    where id = p_job_id
                ),
                '{"status": "deleted", "imported": 0, "skipped": 0, "failed": 0}'
            )::text;
    end if;
end
$$;

create or replace function historical_sync.heartbeat(p_job_id uuid, p_fencing_token bigint, p_lease interval)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    update public.historical_sync_jobs set lease_expires_at = clock_timestamp() + p_lease where id = p_job_id;
end
$$;

create or replace function historical_sync.unfinished_windows(p_job_id uuid)
returns setof historical_sync.windows
language sql
stable
security definer
set search_path = ''
as $$
    select * from historical_sync.windows where job_id = p_job_id and finished_at is null order by ends_at desc
$$;

-- Gives the older half of what a window has left to a window of its own and returns it, or nothing where there is
-- nothing to share. Halves of time, not of calls: an empty half costs one request, and a history of one day in three
-- years is found in ten.
create or replace function historical_sync.split_window(p_job_id uuid, p_fencing_token bigint, p_window_id bigint)
returns setof historical_sync.windows
language plpgsql
security definer
set search_path = ''
as $$
declare
    -- No call is older; only a bound for halving, for a window without one.
    c_epoch constant timestamptz := '2023-01-01 00:00:00+00';
    v_window historical_sync.windows;
    v_oldest timestamptz;
    v_newest timestamptz;
    v_middle timestamptz;
begin
    select * into strict v_window from historical_sync.windows
    where id = p_window_id and job_id = p_job_id
    for update;
    v_oldest := coalesce(v_window.starts_at, c_epoch);
    v_newest := least(v_window.position, v_window.ends_at);
    if v_window.finished_at is not null or v_window.unordered or v_newest - v_oldest < interval '1 second' then
        return;
    end if;
    v_middle := v_oldest + (v_newest - v_oldest) / 2;

    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    update historical_sync.windows set starts_at = v_middle where id = p_window_id;
    return query
        insert into historical_sync.windows (job_id, starts_at, ends_at)
        values (p_job_id, v_window.starts_at, v_middle)
        returning *;
end
$$;

-- An ISO 8601 instant, or null for anything else: a field that is not one must not stop an import.
create or replace function historical_sync.instant(p_text text)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
    return case when p_text ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d' then p_text::timestamptz end;
exception when data_exception then
    return null;
end
$$;

-- Inserts and updates calls, newest knowledge first; returns how many rows are new or changed.
create or replace function historical_sync.store_calls(
    p_agency_id uuid,
    p_calls jsonb,
    p_source text,
    p_fetched_at timestamptz
)
returns integer
language sql
set search_path = ''
as $$
    with stored as (
        insert into public.calls as known (
            agency_id, ultravox_call_id, source, agent_id, created_at, joined_at, ended_at, end_reason,
            billing_status, billed_seconds, medium, short_summary, summary, metadata, data, fetched_at
        )
        select
            p_agency_id,
            call ->> 'callId',
            p_source,
            coalesce(call ->> 'agentId', call #>> '{agent,agentId}'),
            historical_sync.instant(call ->> 'created'),
            historical_sync.instant(call ->> 'joined'),
            historical_sync.instant(call ->> 'ended'),
            call ->> 'endReason',
            call ->> 'billingStatus',
            substring(call ->> 'billedDuration' from '^(\d+(?:\.\d+)?)s$')::numeric,
            case jsonb_typeof(call -> 'medium')
                when 'object' then (select min(name) from jsonb_object_keys(call -> 'medium') as names (name))
                when 'string' then call ->> 'medium'
            end,
            call ->> 'shortSummary',
            call ->> 'summary',
            case jsonb_typeof(call -> 'metadata') when 'object' then call -> 'metadata' else '{}' end,
            call,
            p_fetched_at
        from jsonb_array_elements(p_calls) as calls (call)
        -- One order for everybody: two that store the same calls wait for each other instead of deadlocking.
        order by call ->> 'callId'
        on conflict (agency_id, ultravox_call_id) do update
        set source = excluded.source,
            agent_id = excluded.agent_id,
            created_at = excluded.created_at,
            joined_at = excluded.joined_at,
            ended_at = excluded.ended_at,
            end_reason = excluded.end_reason,
            billing_status = excluded.billing_status,
            billed_seconds = excluded.billed_seconds,
            medium = excluded.medium,
            short_summary = excluded.short_summary,
            summary = excluded.summary,
            metadata = excluded.metadata,
            data = excluded.data,
            fetched_at = excluded.fetched_at,
            updated_at = now()
        where known.data is distinct from excluded.data and known.fetched_at <= excluded.fetched_at
        returning 1
    )
    select count(*)::integer from stored
$$;

-- Stores a page: its calls, the window's checkpoint, the job's counters and a heartbeat, all or nothing. p_body is the
-- API's answer; p_next the query of the page after it, null at the end. The same page again counts nothing twice.
create or replace function historical_sync.store_page(
    p_job_id uuid,
    p_fencing_token bigint,
    p_window_id bigint,
    p_fetched_at timestamptz,
    p_body jsonb,
    p_next text,
    p_total integer,
    p_lease interval
)
returns table (
    finished boolean,
    splittable boolean,
    reached timestamptz,
    imported integer,
    skipped integer,
    failed_call_ids text[],
    processed_calls integer,
    total_calls integer
)
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_window historical_sync.windows;
    v_job public.historical_sync_jobs;
    v_listed integer;
    v_calls jsonb;
    v_call jsonb;
    v_imported integer := 0;
    v_failed text[];
    v_unstored integer := 0;
    v_again boolean;
    v_oldest timestamptz;
begin
    select * into strict v_window from historical_sync.windows
    where id = p_window_id and job_id = p_job_id
    for update;
    select * into strict v_job from public.historical_sync_jobs where id = p_job_id;

    -- Once more the page that this window has come to: the answer to the first time was lost.
    v_again := v_window.finished_at is not null;
    if not v_again and v_window.cursor = p_next then
        select min(created) is null or coalesce(min(created) >= v_window.position, false)
        into v_again
        from jsonb_array_elements(p_body -> 'results') as results (call)
        cross join historical_sync.instant(call ->> 'created') as created;
    end if;

    -- A later page with calls newer than those before, and not as they are known: the API does not keep the order.
    if not v_window.unordered and not v_again and v_window.cursor is not null then
        select exists (
            select
            from jsonb_array_elements(p_body -> 'results') as results (call)
            cross join historical_sync.instant(call ->> 'created') as created
            where created > v_window.position and created < v_window.ends_at
                and not exists (
                    select from public.calls as known
                    where known.agency_id = v_job.agency_id
                        and known.ultravox_call_id = call ->> 'callId' and known.data = call
                )
        )
        into v_window.unordered;
    end if;

    with listed as (
        select number, call, call ->> 'callId' as call_id, historical_sync.instant(call ->> 'created') as created
        from jsonb_array_elements(p_body -> 'results') with ordinality as results (call, number)
    ),
    judged as (
        select
            *,
            call_id is null or created is null as unplaceable,
            created > lag(created) over (order by number) as rises,
            row_number() over (partition by call_id, created is null order by number) > 1 as repeated
        from listed
    )
    select
        count(*),
        v_window.unordered or coalesce(bool_or(rises), false),
        least(v_window.position, min(created)),
        coalesce(array_agg(coalesce(call_id, 'unknown')) filter (
                where unplaceable and not v_again and coalesce(call_id <> all (v_window.position_call_ids), true)
            ), '{}'),
        coalesce(
            jsonb_agg(call) filter (
                where not unplaceable and not repeated and not v_again
                    -- The API's bounds are both inclusive and ours half-open: a call on a seam belongs to one window.
                    and created < v_window.ends_at
                    and (v_window.starts_at is null or created >= v_window.starts_at)
                    -- What an earlier page of this window has brought already.
                    and (
                        v_window.unordered or v_window.position is null or created < v_window.position
                        or (created = v_window.position and call_id <> all (v_window.position_call_ids))
                    )
            ),
            '[]'
        )
    into v_listed, v_window.unordered, v_oldest, v_failed, v_calls
    from judged;

    begin
        v_imported := historical_sync.store_calls(v_job.agency_id, v_calls, 'historical_sync', p_fetched_at);
    exception when data_exception or integrity_constraint_violation or program_limit_exceeded then
        -- One of them cannot be stored: find out which, and store the rest.
        for v_call in select value from jsonb_array_elements(v_calls) loop
            begin
                v_imported := v_imported + historical_sync.store_calls(
                    v_job.agency_id, jsonb_build_array(v_call), 'historical_sync', p_fetched_at
                );
            exception when data_exception or integrity_constraint_violation or program_limit_exceeded then
                v_failed := v_failed || left(v_call ->> 'callId', 100);
                v_unstored := v_unstored + 1;
            end;
        end loop;
    end;
    failed_call_ids := v_failed;
    imported := v_imported;
    skipped := jsonb_array_length(v_calls) - v_imported - v_unstored;

    reached := v_oldest;
    finished := p_next is null or (not v_window.unordered and coalesce(v_oldest < v_window.starts_at, false));
    splittable := not finished and not v_window.unordered;
    update historical_sync.windows
    set cursor = p_next,
        unordered = v_window.unordered,
        position = v_oldest,
        position_call_ids = coalesce(
            (
                select array_agg(distinct call ->> 'callId')
                from jsonb_array_elements(p_body -> 'results') as results (call)
                where call ->> 'callId' is not null
                    and coalesce(historical_sync.instant(call ->> 'created') = v_oldest, true)
            ),
            '{}'
        ) || case when v_window.position = v_oldest then v_window.position_call_ids else '{}' end,
        finished_at = case when finished then now() end
    where id = p_window_id;

    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    update public.historical_sync_jobs as job
    set processed_calls = job.processed_calls + imported + skipped + cardinality(v_failed),
        imported_calls = job.imported_calls + imported,
        skipped_calls = job.skipped_calls + skipped,
        failed_calls = job.failed_calls + cardinality(v_failed),
        -- The first answer, to a query for the whole range, can tell the total. Some tell less than they list.
        total_calls = coalesce(
            job.total_calls,
            case
                when v_window.cursor is null and v_window.position is null and p_total >= v_listed
                    and v_window.starts_at is not distinct from job.date_from and v_window.ends_at = job.date_to
                then p_total
            end
        ),
        last_activity_at = clock_timestamp(),
        lease_expires_at = clock_timestamp() + p_lease,
        consecutive_failures = 0,
        error_message = null
    where job.id = p_job_id
    returning job.processed_calls, job.total_calls into processed_calls, total_calls;
    return next;
end
$$;

-- Goes back to where a window's committed pages end, for an API that has forgotten the cursor. An unordered window
-- has no such place and starts afresh.
create or replace function historical_sync.rewind_window(p_job_id uuid, p_fencing_token bigint, p_window_id bigint)
returns setof historical_sync.windows
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- The window before the job, as everybody else: no two of a job's threads wait for each other.
    perform from historical_sync.windows where id = p_window_id and job_id = p_job_id for update;
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    return query
        update historical_sync.windows
        set cursor = null, position = case when unordered then null else position end
        where id = p_window_id and job_id = p_job_id
        returning *;
end
$$;

create or replace function historical_sync.complete_job(p_job_id uuid, p_fencing_token bigint)
returns setof historical_sync.job
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    if exists (select from historical_sync.unfinished_windows(p_job_id)) then
        raise exception 'job has unfinished windows';
    end if;
    update public.historical_sync_jobs
    set status = 'completed', completed_at = now(), total_calls = processed_calls, lease_expires_at = null,
        error_message = null
    where id = p_job_id;
    return query select * from historical_sync.job where id = p_job_id;
end
$$;

create or replace function historical_sync.fail_job(p_job_id uuid, p_fencing_token bigint, p_error text)
returns setof historical_sync.job
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    update public.historical_sync_jobs
    set status = 'failed', completed_at = now(), lease_expires_at = null, error_message = p_error, last_error_at = now()
    where id = p_job_id;
    return query select * from historical_sync.job where id = p_job_id;
end
$$;

-- Gives the job back to be tried again: after a backoff that doubles from 5 seconds to 10 minutes, and not before
-- p_retry_after where the API asks for that. Fails it once p_max_failures in a row have brought nothing.
create or replace function historical_sync.reschedule_job(
    p_job_id uuid,
    p_fencing_token bigint,
    p_error text,
    p_retry_after interval,
    p_max_failures integer
)
returns setof historical_sync.job
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_failures integer;
begin
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    update public.historical_sync_jobs
    set consecutive_failures = consecutive_failures + 1
    where id = p_job_id
    returning consecutive_failures into v_failures;
    if v_failures >= p_max_failures then
        return query select * from historical_sync.fail_job(p_job_id, p_fencing_token, p_error);
        return;
    end if;
    update public.historical_sync_jobs
    set status = 'pending',
        lease_expires_at = null,
        error_message = p_error,
        last_error_at = now(),
        -- Jitter, so that jobs that failed together do not come back together.
        -- A pause that the API asks for can be longer than the backoff and never shorter: it may ask for none.
        next_attempt_at = now() + greatest(
            p_retry_after,
            least(interval '5 seconds' * 2 ^ (v_failures - 1), interval '10 minutes')
        ) * (1 + random() * 0.2)
    where id = p_job_id;
    return query select * from historical_sync.job where id = p_job_id;
end
$$;

-- Gives the job back unharmed, for the next processor to go on at once.
create or replace function historical_sync.release_job(p_job_id uuid, p_fencing_token bigint)
returns setof historical_sync.job
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    update public.historical_sync_jobs set status = 'pending', lease_expires_at = null where id = p_job_id;
    return query select * from historical_sync.job where id = p_job_id;
end
$$;

create or replace function historical_sync.set_ultravox_key(p_agency_id uuid, p_key_encrypted bytea)
returns boolean
language sql
security definer
set search_path = ''
as $$
    update public.agencies
    set ultravox_api_key_encrypted = p_key_encrypted, updated_at = now()
    where id = p_agency_id
    returning true
$$;
