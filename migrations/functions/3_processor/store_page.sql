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
set search_path = pg_catalog, pg_temp
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
