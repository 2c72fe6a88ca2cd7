-- Made by make_released.py from ee9f761.
--
-- PostgreSQL database dump
--


-- Dumped from database version 18.4
-- Dumped by pg_dump version 18.4

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: historical_sync; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA historical_sync;


--
-- Name: sync_job_status; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.sync_job_status AS ENUM (
    'pending',
    'in_progress',
    'completed',
    'failed',
    'cancelled'
);


--
-- Name: user_role; Type: TYPE; Schema: public; Owner: -
--

CREATE TYPE public.user_role AS ENUM (
    'owner',
    'viewer'
);


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: historical_sync_jobs; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.historical_sync_jobs (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    agency_id uuid NOT NULL,
    date_from timestamp with time zone,
    date_to timestamp with time zone NOT NULL,
    status public.sync_job_status DEFAULT 'pending'::public.sync_job_status NOT NULL,
    total_calls integer,
    processed_calls integer DEFAULT 0 NOT NULL,
    imported_calls integer DEFAULT 0 NOT NULL,
    skipped_calls integer DEFAULT 0 NOT NULL,
    failed_calls integer DEFAULT 0 NOT NULL,
    cursor text,
    error_message text,
    last_error_at timestamp with time zone,
    max_calls integer DEFAULT 100,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    last_activity_at timestamp with time zone,
    requested_by uuid,
    attempt integer DEFAULT 0 NOT NULL,
    next_attempt_at timestamp with time zone,
    fencing_token bigint DEFAULT 0 NOT NULL,
    lease_expires_at timestamp with time zone,
    consecutive_failures integer DEFAULT 0 NOT NULL,
    attempt_started_at timestamp with time zone,
    attempt_processed_calls integer DEFAULT 0 NOT NULL
);


--
-- Name: job; Type: VIEW; Schema: historical_sync; Owner: -
--

CREATE VIEW historical_sync.job AS
 SELECT id,
    agency_id,
    (status)::text AS status,
    date_from,
    date_to,
    total_calls,
    processed_calls,
    imported_calls,
    skipped_calls,
    failed_calls,
        CASE
            WHEN (status = 'completed'::public.sync_job_status) THEN 100
            WHEN (total_calls > 0) THEN (LEAST((100)::numeric, round(((100.0 * (processed_calls)::numeric) / (total_calls)::numeric))))::integer
            ELSE NULL::integer
        END AS progress_percent,
        CASE
            WHEN ((status = 'in_progress'::public.sync_job_status) AND (processed_calls > attempt_processed_calls) AND (total_calls >= processed_calls) AND (((EXTRACT(epoch FROM (last_activity_at - attempt_started_at)))::double precision * (((total_calls - processed_calls))::double precision / ((processed_calls - attempt_processed_calls))::double precision)) < ((((100)::numeric * 365.25) * (86400)::numeric))::double precision)) THEN (last_activity_at + ((last_activity_at - attempt_started_at) * (((total_calls - processed_calls))::double precision / ((processed_calls - attempt_processed_calls))::double precision)))
            ELSE NULL::timestamp with time zone
        END AS eta,
    requested_by,
    created_at,
    started_at,
    last_activity_at,
    completed_at,
    attempt,
    next_attempt_at,
    error_message
   FROM public.historical_sync_jobs;


--
-- Name: active_job(uuid); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.active_job(p_agency_id uuid) RETURNS SETOF historical_sync.job
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    select *
    from historical_sync.job
    where agency_id = p_agency_id and status in ('pending', 'in_progress')
$$;


--
-- Name: caller(uuid, uuid); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.caller(p_user_id uuid, p_session_id uuid) RETURNS TABLE(revocation text, agency_id uuid)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select revocation, users.agency_id
    from historical_sync.token_revocation(p_user_id, p_session_id) as revocation
    left join public.users on users.id = p_user_id and revocation is null
$$;


--
-- Name: cancel_job(uuid, uuid); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.cancel_job(p_agency_id uuid, p_job_id uuid) RETURNS TABLE(agency_id uuid, status text, changed boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    return query
        update public.historical_sync_jobs as job
        set status = 'cancelled', completed_at = now(), lease_expires_at = null, next_attempt_at = null
        where job.id = p_job_id and job.agency_id = p_agency_id and job.status in ('pending', 'in_progress')
        returning job.agency_id, job.status::text, true;
    if not found then
        -- A statement of its own sees what the update has waited for.
        return query
            select job.agency_id, job.status::text, false
            from public.historical_sync_jobs as job
            where job.id = p_job_id;
    end if;
end
$$;


--
-- Name: claim_job(interval); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.claim_job(p_lease interval) RETURNS TABLE(job_id uuid, agency_id uuid, fencing_token bigint, page_size integer, api_key_encrypted bytea, date_from timestamp with time zone, date_to timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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


--
-- Name: complete_job(uuid, bigint); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.complete_job(p_job_id uuid, p_fencing_token bigint) RETURNS SETOF historical_sync.job
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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


--
-- Name: count_ultravox_requests(jsonb); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.count_ultravox_requests(p_counts jsonb) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    insert into historical_sync.ultravox_requests as known (status, requests)
    select key::integer, value::bigint
    from jsonb_each_text(p_counts)
    order by key::integer
    on conflict (status) do update set requests = known.requests + excluded.requests
$$;


--
-- Name: create_job(uuid, uuid, timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.create_job(p_agency_id uuid, p_requested_by uuid, p_date_from timestamp with time zone, p_date_to timestamp with time zone) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_job_id uuid;
    v_message text;
    v_constraint text;
begin
    v_job_id := public.create_historical_sync_job(
        p_agency_id => p_agency_id, p_date_from => p_date_from, p_date_to => coalesce(p_date_to, now())
    );
    update public.historical_sync_jobs set requested_by = p_requested_by where id = v_job_id;
    return v_job_id;
exception when unique_violation then
    get stacked diagnostics v_message = message_text, v_constraint = constraint_name;
    raise unique_violation using message = v_message, constraint = historical_sync.told_constraint(v_constraint);
end
$$;


--
-- Name: fail_job(uuid, bigint, text); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.fail_job(p_job_id uuid, p_fencing_token bigint, p_error text) RETURNS SETOF historical_sync.job
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    update public.historical_sync_jobs
    set status = 'failed', completed_at = now(), lease_expires_at = null, error_message = p_error, last_error_at = now()
    where id = p_job_id;
    return query select * from historical_sync.job where id = p_job_id;
end
$$;


--
-- Name: find_job(uuid); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.find_job(p_job_id uuid) RETURNS SETOF historical_sync.job
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    select * from historical_sync.job where id = p_job_id
$$;


--
-- Name: heartbeat(uuid, bigint, interval); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.heartbeat(p_job_id uuid, p_fencing_token bigint, p_lease interval) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    update public.historical_sync_jobs set lease_expires_at = clock_timestamp() + p_lease where id = p_job_id;
end
$$;


--
-- Name: hold_lease(uuid, bigint); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.hold_lease(p_job_id uuid, p_fencing_token bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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


--
-- Name: instant(text); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.instant(p_text text) RETURNS timestamp with time zone
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
    return case when p_text ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d' then p_text::timestamptz end;
exception when data_exception then
    return null;
end
$$;


--
-- Name: latest_job(uuid); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.latest_job(p_agency_id uuid) RETURNS SETOF historical_sync.job
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    -- The active one first: there is one at most.
    select *
    from historical_sync.job
    where agency_id = p_agency_id
    order by status in ('pending', 'in_progress') desc, created_at desc, id desc
    limit 1
$$;


--
-- Name: list_jobs(uuid, uuid, integer); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.list_jobs(p_agency_id uuid, p_before uuid, p_limit integer) RETURNS SETOF historical_sync.job
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    select *
    from historical_sync.job
    where agency_id = p_agency_id
        and (
            p_before is null
            or (created_at, id) < (
                select created_at, id from public.historical_sync_jobs where id = p_before and agency_id = p_agency_id
            )
        )
    order by created_at desc, id desc
    limit p_limit
$$;


--
-- Name: metrics(); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.metrics() RETURNS TABLE(metric text, label text, value double precision)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    select 'jobs', statuses.status::text, count(job.id)::double precision
    from unnest(enum_range(null::public.sync_job_status)) as statuses (status)
    left join public.historical_sync_jobs as job on job.status = statuses.status
    group by statuses.status
    union all
    select 'oldest_pending_job_seconds', '', coalesce(extract(epoch from now() - min(created_at)), 0)
    from public.historical_sync_jobs
    where status = 'pending'
    union all
    select sums.*
    from (
        select
            coalesce(sum(imported_calls), 0) as imported,
            coalesce(sum(skipped_calls), 0) as skipped,
            coalesce(sum(failed_calls), 0) as failed
        from public.historical_sync_jobs
    ) as total
    cross join lateral (
        values
            ('calls', 'imported', total.imported::double precision),
            ('calls', 'skipped', total.skipped::double precision),
            ('calls', 'failed', total.failed::double precision)
    ) as sums
    union all
    select 'ultravox_requests', status::text, requests::double precision
    from historical_sync.ultravox_requests
$$;


--
-- Name: notify_pending(); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.notify_pending() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    perform pg_notify('historical_sync_pending', '');
    return null;
end
$$;


--
-- Name: release_job(uuid, bigint); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.release_job(p_job_id uuid, p_fencing_token bigint) RETURNS SETOF historical_sync.job
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    perform historical_sync.hold_lease(p_job_id, p_fencing_token);
    update public.historical_sync_jobs set status = 'pending', lease_expires_at = null where id = p_job_id;
    return query select * from historical_sync.job where id = p_job_id;
end
$$;


--
-- Name: reschedule_job(uuid, bigint, text, interval, integer); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.reschedule_job(p_job_id uuid, p_fencing_token bigint, p_error text, p_retry_after interval, p_max_failures integer) RETURNS SETOF historical_sync.job
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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


--
-- Name: resume_job(uuid, uuid); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.resume_job(p_agency_id uuid, p_job_id uuid) RETURNS TABLE(agency_id uuid, status text, changed boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_message text;
    v_constraint text;
begin
    return query
        update public.historical_sync_jobs as job
        set status = 'pending', completed_at = null, error_message = null, consecutive_failures = 0
        where job.id = p_job_id and job.agency_id = p_agency_id and job.status in ('failed', 'cancelled')
        returning job.agency_id, job.status::text, true;
    if not found then
        return query
            select job.agency_id, job.status::text, false
            from public.historical_sync_jobs as job
            where job.id = p_job_id;
    end if;
exception when unique_violation then
    get stacked diagnostics v_message = message_text, v_constraint = constraint_name;
    raise unique_violation using message = v_message, constraint = historical_sync.told_constraint(v_constraint);
end
$$;


--
-- Name: windows; Type: TABLE; Schema: historical_sync; Owner: -
--

CREATE TABLE historical_sync.windows (
    id bigint NOT NULL,
    job_id uuid NOT NULL,
    starts_at timestamp with time zone,
    ends_at timestamp with time zone NOT NULL,
    cursor text,
    "position" timestamp with time zone,
    position_call_ids text[] DEFAULT '{}'::text[] NOT NULL,
    unordered boolean DEFAULT false NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT windows_range CHECK (((starts_at IS NULL) OR (starts_at < ends_at)))
);


--
-- Name: rewind_window(uuid, bigint, bigint); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.rewind_window(p_job_id uuid, p_fencing_token bigint, p_window_id bigint) RETURNS SETOF historical_sync.windows
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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


--
-- Name: set_ultravox_key(uuid, bytea); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.set_ultravox_key(p_agency_id uuid, p_key_encrypted bytea) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO ''
    AS $$
    update public.agencies
    set ultravox_api_key_encrypted = p_key_encrypted, updated_at = now()
    where id = p_agency_id
    returning true
$$;


--
-- Name: split_window(uuid, bigint, bigint); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.split_window(p_job_id uuid, p_fencing_token bigint, p_window_id bigint) RETURNS SETOF historical_sync.windows
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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


--
-- Name: store_calls(uuid, jsonb, text, timestamp with time zone); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.store_calls(p_agency_id uuid, p_calls jsonb, p_source text, p_fetched_at timestamp with time zone) RETURNS integer
    LANGUAGE sql
    SET search_path TO ''
    AS $_$
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
$_$;


--
-- Name: store_page(uuid, bigint, bigint, timestamp with time zone, jsonb, text, integer, interval); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.store_page(p_job_id uuid, p_fencing_token bigint, p_window_id bigint, p_fetched_at timestamp with time zone, p_body jsonb, p_next text, p_total integer, p_lease interval) RETURNS TABLE(finished boolean, splittable boolean, reached timestamp with time zone, imported integer, skipped integer, failed_call_ids text[], processed_calls integer, total_calls integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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


--
-- Name: token_revocation(uuid, uuid); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.token_revocation(p_user_id uuid, p_session_id uuid) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_user record;
begin
    if to_regclass('auth.users') is null then
        return null;
    end if;

    select banned_until, deleted_at into v_user from auth.users where id = p_user_id;
    if not found then
        return 'user_not_found';
    elsif v_user.deleted_at is not null then
        return 'user_deleted';
    elsif v_user.banned_until > now() then
        return 'user_banned';
    elsif p_session_id is not null
        and to_regclass('auth.sessions') is not null
        and not exists (select from auth.sessions where id = p_session_id and user_id = p_user_id)
    then
        return 'session_not_found';
    end if;
    return null;
end
$$;


--
-- Name: told_constraint(text); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.told_constraint(p_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select case
        when exists (
            select
            from pg_catalog.pg_index as i
            join pg_catalog.pg_class as c on c.oid = i.indexrelid
            join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            where i.indrelid = 'public.historical_sync_jobs'::regclass
                and c.relname = p_name
                and i.indisunique and i.indnkeyatts = 1 and i.indpred is not null and a.attname = 'agency_id'
        )
        then 'historical_sync_jobs_one_active_per_agency'
        else p_name
    end
$$;


--
-- Name: unfinished_windows(uuid); Type: FUNCTION; Schema: historical_sync; Owner: -
--

CREATE FUNCTION historical_sync.unfinished_windows(p_job_id uuid) RETURNS SETOF historical_sync.windows
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    select * from historical_sync.windows where job_id = p_job_id and finished_at is null order by ends_at desc
$$;


--
-- Name: create_historical_sync_job(uuid, timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.create_historical_sync_job(p_agency_id uuid, p_date_from timestamp with time zone, p_date_to timestamp with time zone) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
        declare
            v_job_id uuid;
            v_message text;
            v_constraint text;
        begin
            insert into public.historical_sync_jobs (agency_id, date_from, date_to)
            values (p_agency_id, p_date_from, coalesce(p_date_to, now()))
            returning id into v_job_id;
            return v_job_id;
        exception when unique_violation then
            get stacked diagnostics v_message = message_text, v_constraint = constraint_name;
            v_constraint := historical_sync.told_constraint(v_constraint);
            raise unique_violation using
                message = case v_constraint
                    when 'historical_sync_jobs_one_active_per_agency'
                    then 'a historical sync job already exists for agency ' || p_agency_id
                    else v_message
                end,
                constraint = v_constraint;
        end
        $$;


--
-- Name: FUNCTION create_historical_sync_job(p_agency_id uuid, p_date_from timestamp with time zone, p_date_to timestamp with time zone); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.create_historical_sync_job(p_agency_id uuid, p_date_from timestamp with time zone, p_date_to timestamp with time zone) IS 'Creates a pending job for [p_date_from, p_date_to). Fails with 23505 where the agency has an active one.';


--
-- Name: _yoyo_log; Type: TABLE; Schema: historical_sync; Owner: -
--

CREATE TABLE historical_sync._yoyo_log (
    id character varying(36) NOT NULL,
    migration_hash character varying(64),
    migration_id character varying(255),
    operation character varying(10),
    username character varying(255),
    hostname character varying(255),
    comment character varying(255),
    created_at_utc timestamp without time zone
);


--
-- Name: _yoyo_migrations; Type: TABLE; Schema: historical_sync; Owner: -
--

CREATE TABLE historical_sync._yoyo_migrations (
    migration_hash character varying(64) NOT NULL,
    migration_id character varying(255),
    applied_at_utc timestamp without time zone
);


--
-- Name: _yoyo_version; Type: TABLE; Schema: historical_sync; Owner: -
--

CREATE TABLE historical_sync._yoyo_version (
    version integer NOT NULL,
    installed_at_utc timestamp without time zone
);


--
-- Name: ultravox_requests; Type: TABLE; Schema: historical_sync; Owner: -
--

CREATE TABLE historical_sync.ultravox_requests (
    status integer NOT NULL,
    requests bigint NOT NULL
);


--
-- Name: windows_id_seq; Type: SEQUENCE; Schema: historical_sync; Owner: -
--

ALTER TABLE historical_sync.windows ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME historical_sync.windows_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: yoyo_lock; Type: TABLE; Schema: historical_sync; Owner: -
--

CREATE TABLE historical_sync.yoyo_lock (
    locked integer DEFAULT 1 NOT NULL,
    ctime timestamp without time zone,
    pid integer NOT NULL
);


--
-- Name: agencies; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.agencies (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    name text,
    plan text,
    ultravox_api_key_encrypted bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: COLUMN agencies.ultravox_api_key_encrypted; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.agencies.ultravox_api_key_encrypted IS 'The agency''s Ultravox API key under CREDENTIALS_KEY; written by set-ultravox-key.';


--
-- Name: calls; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.calls (
    agency_id uuid NOT NULL,
    ultravox_call_id text NOT NULL,
    source text NOT NULL,
    agent_id text,
    created_at timestamp with time zone NOT NULL,
    joined_at timestamp with time zone,
    ended_at timestamp with time zone,
    duration_seconds numeric GENERATED ALWAYS AS (EXTRACT(epoch FROM (ended_at - joined_at))) STORED,
    end_reason text,
    billing_status text,
    billed_seconds numeric,
    medium text,
    short_summary text,
    summary text,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    data jsonb NOT NULL,
    imported_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    fetched_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT calls_source_known CHECK ((source = ANY (ARRAY['historical_sync'::text, 'webhook'::text])))
);


--
-- Name: users; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.users (
    id uuid NOT NULL,
    agency_id uuid,
    role public.user_role,
    email text
);


--
-- Data for Name: _yoyo_log; Type: TABLE DATA; Schema: historical_sync; Owner: -
--



--
-- Data for Name: _yoyo_migrations; Type: TABLE DATA; Schema: historical_sync; Owner: -
--

INSERT INTO historical_sync._yoyo_migrations (migration_hash, migration_id, applied_at_utc) VALUES ('9d5b0f63dadeeba29f2873ae34e9e0f21f21715f1181e5e7d84e497c6859fddf', '20261123090000_create_roles', '2026-11-24 11:17:17.62657');
INSERT INTO historical_sync._yoyo_migrations (migration_hash, migration_id, applied_at_utc) VALUES ('a287ccbcc7587081522bb534b9bc53f6cfa621c9e2f0bc1f5f9e2e9391b07905', '20261123090100_create_agencies_and_users', '2026-11-24 11:17:17.634882');
INSERT INTO historical_sync._yoyo_migrations (migration_hash, migration_id, applied_at_utc) VALUES ('8009e8c2937a8096fd36cca29c949a53f720dd84935e3ab2026a2beabf28e066', '20261123090200_create_historical_sync_jobs', '2026-11-24 11:17:17.648837');
INSERT INTO historical_sync._yoyo_migrations (migration_hash, migration_id, applied_at_utc) VALUES ('f22cbbf6cc1872865fb808c3834dcbef4bfd7b7c52ac051fbbd503d04d0c1f79', '20261123090300_create_calls', '2026-11-24 11:17:17.660964');
INSERT INTO historical_sync._yoyo_migrations (migration_hash, migration_id, applied_at_utc) VALUES ('9a3cc14bd6545c375ce33c4af404498a5d0bcf885eb28643137c7159aecfec90', '20261123090400_create_service_functions', '2026-11-24 11:17:17.672476');
INSERT INTO historical_sync._yoyo_migrations (migration_hash, migration_id, applied_at_utc) VALUES ('1bd5db51c29ec53f4743349ad430b96c37c856b3e9a8b9d6531488884f61eb27', '20261123090500_grant_privileges', '2026-11-24 11:17:17.684269');
INSERT INTO historical_sync._yoyo_migrations (migration_hash, migration_id, applied_at_utc) VALUES ('4cc5756dfa42d56b19d398cb3f9a17b7f103b0a68d2cc296c75a2ab6a3870c11', '20261123100000_create_windows', '2026-11-24 11:17:17.69653');
INSERT INTO historical_sync._yoyo_migrations (migration_hash, migration_id, applied_at_utc) VALUES ('b830fb32439987372d7d57259f9fe866d8c8c50dd1445f7cb1e1cb8bd522a51b', '20261123100100_create_processor_functions', '2026-11-24 11:17:17.711828');
INSERT INTO historical_sync._yoyo_migrations (migration_hash, migration_id, applied_at_utc) VALUES ('6e575d458859f21ead27c5bcc90ee500c3cd038a58d8d3480d1c54ee23630c83', '20261123100200_create_steering_functions', '2026-11-24 11:17:17.720976');
INSERT INTO historical_sync._yoyo_migrations (migration_hash, migration_id, applied_at_utc) VALUES ('07ddc4a82445eacad0d10a52cc35e1b17d3eea9906a44e5478bd48591f93bbe1', '20261123100300_grant_processor_privileges', '2026-11-24 11:17:17.729733');
INSERT INTO historical_sync._yoyo_migrations (migration_hash, migration_id, applied_at_utc) VALUES ('df530d5ee139ba9d8adfc37c6e80c2680b9a6b451db30abe3b6693b97becc5e1', '20261123110000_create_metrics', '2026-11-24 11:17:17.739825');


--
-- Data for Name: _yoyo_version; Type: TABLE DATA; Schema: historical_sync; Owner: -
--

INSERT INTO historical_sync._yoyo_version (version, installed_at_utc) VALUES (2, '2026-11-24 11:17:17.586089');


--
-- Data for Name: ultravox_requests; Type: TABLE DATA; Schema: historical_sync; Owner: -
--



--
-- Data for Name: windows; Type: TABLE DATA; Schema: historical_sync; Owner: -
--



--
-- Data for Name: yoyo_lock; Type: TABLE DATA; Schema: historical_sync; Owner: -
--



--
-- Data for Name: agencies; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.agencies (id, name, plan, ultravox_api_key_encrypted, created_at, updated_at) VALUES ('00000000-0000-4000-8000-00000000000a', 'Old', NULL, NULL, '2026-11-24 11:17:17.62996+00', '2026-11-24 11:17:17.62996+00');
INSERT INTO public.agencies (id, name, plan, ultravox_api_key_encrypted, created_at, updated_at) VALUES ('00000000-0000-4000-8000-0000000000c1', 'Agency 1', NULL, NULL, '2026-11-24 11:17:17.62996+00', '2026-11-24 11:17:17.62996+00');
INSERT INTO public.agencies (id, name, plan, ultravox_api_key_encrypted, created_at, updated_at) VALUES ('00000000-0000-4000-8000-0000000000c2', 'Agency 2', NULL, NULL, '2026-11-24 11:17:17.62996+00', '2026-11-24 11:17:17.62996+00');
INSERT INTO public.agencies (id, name, plan, ultravox_api_key_encrypted, created_at, updated_at) VALUES ('00000000-0000-4000-8000-0000000000c3', 'Agency 3', NULL, NULL, '2026-11-24 11:17:17.62996+00', '2026-11-24 11:17:17.62996+00');
INSERT INTO public.agencies (id, name, plan, ultravox_api_key_encrypted, created_at, updated_at) VALUES ('00000000-0000-4000-8000-0000000000c4', 'Agency 4', NULL, NULL, '2026-11-24 11:17:17.62996+00', '2026-11-24 11:17:17.62996+00');
INSERT INTO public.agencies (id, name, plan, ultravox_api_key_encrypted, created_at, updated_at) VALUES ('00000000-0000-4000-8000-0000000000c5', 'Agency 5', NULL, NULL, '2026-11-24 11:17:17.62996+00', '2026-11-24 11:17:17.62996+00');


--
-- Data for Name: calls; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: historical_sync_jobs; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.historical_sync_jobs (id, agency_id, date_from, date_to, status, total_calls, processed_calls, imported_calls, skipped_calls, failed_calls, cursor, error_message, last_error_at, max_calls, created_at, started_at, completed_at, last_activity_at, requested_by, attempt, next_attempt_at, fencing_token, lease_expires_at, consecutive_failures, attempt_started_at, attempt_processed_calls) VALUES ('ee89be6e-241f-4113-a8d1-b7e7052d51eb', '00000000-0000-4000-8000-00000000000a', NULL, '2026-11-24 11:17:17.080745+00', 'completed', NULL, 7, 0, 0, 0, NULL, NULL, NULL, 100, '2026-11-24 11:17:17.080745+00', NULL, '2026-11-24 11:17:17.080745+00', NULL, NULL, 0, NULL, 0, NULL, 0, NULL, 0);
INSERT INTO public.historical_sync_jobs (id, agency_id, date_from, date_to, status, total_calls, processed_calls, imported_calls, skipped_calls, failed_calls, cursor, error_message, last_error_at, max_calls, created_at, started_at, completed_at, last_activity_at, requested_by, attempt, next_attempt_at, fencing_token, lease_expires_at, consecutive_failures, attempt_started_at, attempt_processed_calls) VALUES ('00000000-0000-4000-8000-0000000000d1', '00000000-0000-4000-8000-0000000000c1', NULL, '2026-03-02 00:00:00+00', 'pending', NULL, -1, 0, 0, 0, NULL, NULL, NULL, 100, '2026-11-24 11:17:17.080745+00', NULL, NULL, NULL, NULL, 0, NULL, 0, NULL, 0, NULL, 0);
INSERT INTO public.historical_sync_jobs (id, agency_id, date_from, date_to, status, total_calls, processed_calls, imported_calls, skipped_calls, failed_calls, cursor, error_message, last_error_at, max_calls, created_at, started_at, completed_at, last_activity_at, requested_by, attempt, next_attempt_at, fencing_token, lease_expires_at, consecutive_failures, attempt_started_at, attempt_processed_calls) VALUES ('00000000-0000-4000-8000-0000000000d2', '00000000-0000-4000-8000-0000000000c2', '2026-03-02 00:00:00+00', '2026-03-01 00:00:00+00', 'in_progress', NULL, 3, 0, 0, 0, NULL, NULL, NULL, 100, '2026-11-24 11:17:17.080745+00', NULL, NULL, NULL, NULL, 0, NULL, 0, NULL, 0, NULL, 0);
INSERT INTO public.historical_sync_jobs (id, agency_id, date_from, date_to, status, total_calls, processed_calls, imported_calls, skipped_calls, failed_calls, cursor, error_message, last_error_at, max_calls, created_at, started_at, completed_at, last_activity_at, requested_by, attempt, next_attempt_at, fencing_token, lease_expires_at, consecutive_failures, attempt_started_at, attempt_processed_calls) VALUES ('00000000-0000-4000-8000-0000000000d3', '00000000-0000-4000-8000-0000000000c3', NULL, 'infinity', 'pending', NULL, 0, 0, 0, 0, NULL, NULL, NULL, 100, '2026-11-24 11:17:17.080745+00', NULL, NULL, NULL, NULL, 0, NULL, 0, NULL, 0, NULL, 0);
INSERT INTO public.historical_sync_jobs (id, agency_id, date_from, date_to, status, total_calls, processed_calls, imported_calls, skipped_calls, failed_calls, cursor, error_message, last_error_at, max_calls, created_at, started_at, completed_at, last_activity_at, requested_by, attempt, next_attempt_at, fencing_token, lease_expires_at, consecutive_failures, attempt_started_at, attempt_processed_calls) VALUES ('00000000-0000-4000-8000-0000000000d4', '00000000-0000-4000-8000-0000000000c4', '0044-03-15 00:00:00+00 BC', '2026-03-01 00:00:00+00', 'in_progress', NULL, 0, 0, 0, 0, NULL, NULL, NULL, 100, '2026-11-24 11:17:17.080745+00', NULL, NULL, NULL, NULL, 0, NULL, 0, NULL, 0, NULL, 0);
INSERT INTO public.historical_sync_jobs (id, agency_id, date_from, date_to, status, total_calls, processed_calls, imported_calls, skipped_calls, failed_calls, cursor, error_message, last_error_at, max_calls, created_at, started_at, completed_at, last_activity_at, requested_by, attempt, next_attempt_at, fencing_token, lease_expires_at, consecutive_failures, attempt_started_at, attempt_processed_calls) VALUES ('00000000-0000-4000-8000-0000000000d5', '00000000-0000-4000-8000-0000000000c5', NULL, '2026-03-02 00:00:00+00', 'pending', NULL, 0, 0, 0, 0, NULL, NULL, NULL, 100, '2026-11-24 11:17:17.080745+00', NULL, NULL, NULL, NULL, 0, NULL, 0, NULL, 0, NULL, 0);
INSERT INTO public.historical_sync_jobs (id, agency_id, date_from, date_to, status, total_calls, processed_calls, imported_calls, skipped_calls, failed_calls, cursor, error_message, last_error_at, max_calls, created_at, started_at, completed_at, last_activity_at, requested_by, attempt, next_attempt_at, fencing_token, lease_expires_at, consecutive_failures, attempt_started_at, attempt_processed_calls) VALUES ('00000000-0000-4000-8000-0000000000d6', '00000000-0000-4000-8000-0000000000c5', NULL, '2026-03-02 00:00:00+00', 'failed', NULL, -1, 0, 0, 0, NULL, NULL, NULL, 100, '2026-11-24 11:17:17.080745+00', NULL, NULL, NULL, NULL, 0, NULL, 0, NULL, 0, NULL, 0);
INSERT INTO public.historical_sync_jobs (id, agency_id, date_from, date_to, status, total_calls, processed_calls, imported_calls, skipped_calls, failed_calls, cursor, error_message, last_error_at, max_calls, created_at, started_at, completed_at, last_activity_at, requested_by, attempt, next_attempt_at, fencing_token, lease_expires_at, consecutive_failures, attempt_started_at, attempt_processed_calls) VALUES ('00000000-0000-4000-8000-0000000000d7', '00000000-0000-4000-8000-0000000000c5', '2026-03-02 00:00:00+00', '2026-03-01 00:00:00+00', 'completed', NULL, 3, 0, 0, 0, NULL, NULL, NULL, 100, '2026-11-24 11:17:17.080745+00', NULL, NULL, NULL, NULL, 0, NULL, 0, NULL, 0, NULL, 0);
INSERT INTO public.historical_sync_jobs (id, agency_id, date_from, date_to, status, total_calls, processed_calls, imported_calls, skipped_calls, failed_calls, cursor, error_message, last_error_at, max_calls, created_at, started_at, completed_at, last_activity_at, requested_by, attempt, next_attempt_at, fencing_token, lease_expires_at, consecutive_failures, attempt_started_at, attempt_processed_calls) VALUES ('00000000-0000-4000-8000-0000000000d8', '00000000-0000-4000-8000-0000000000c5', '-infinity', 'infinity', 'cancelled', NULL, 0, 0, 0, 0, NULL, NULL, NULL, 100, '2026-11-24 11:17:17.080745+00', NULL, NULL, NULL, NULL, 0, NULL, 0, NULL, 0, NULL, 0);
INSERT INTO public.historical_sync_jobs (id, agency_id, date_from, date_to, status, total_calls, processed_calls, imported_calls, skipped_calls, failed_calls, cursor, error_message, last_error_at, max_calls, created_at, started_at, completed_at, last_activity_at, requested_by, attempt, next_attempt_at, fencing_token, lease_expires_at, consecutive_failures, attempt_started_at, attempt_processed_calls) VALUES ('d4307276-54ce-4200-8e9c-689fb7b031b7', '00000000-0000-4000-8000-00000000000a', NULL, '2026-11-24 11:17:17.080745+00', 'pending', NULL, 0, 0, 0, 0, NULL, NULL, NULL, 100, '2026-11-24 11:17:17.080745+00', NULL, NULL, NULL, NULL, 0, NULL, 0, NULL, 0, NULL, 0);


--
-- Data for Name: users; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.users (id, agency_id, role, email) VALUES ('00000000-0000-4000-8000-00000000000b', '00000000-0000-4000-8000-00000000000a', 'owner', NULL);


--
-- Name: windows_id_seq; Type: SEQUENCE SET; Schema: historical_sync; Owner: -
--

SELECT pg_catalog.setval('historical_sync.windows_id_seq', 1, false);


--
-- Name: _yoyo_log _yoyo_log_pkey; Type: CONSTRAINT; Schema: historical_sync; Owner: -
--

ALTER TABLE ONLY historical_sync._yoyo_log
    ADD CONSTRAINT _yoyo_log_pkey PRIMARY KEY (id);


--
-- Name: _yoyo_migrations _yoyo_migrations_pkey; Type: CONSTRAINT; Schema: historical_sync; Owner: -
--

ALTER TABLE ONLY historical_sync._yoyo_migrations
    ADD CONSTRAINT _yoyo_migrations_pkey PRIMARY KEY (migration_hash);


--
-- Name: _yoyo_version _yoyo_version_pkey; Type: CONSTRAINT; Schema: historical_sync; Owner: -
--

ALTER TABLE ONLY historical_sync._yoyo_version
    ADD CONSTRAINT _yoyo_version_pkey PRIMARY KEY (version);


--
-- Name: ultravox_requests ultravox_requests_pkey; Type: CONSTRAINT; Schema: historical_sync; Owner: -
--

ALTER TABLE ONLY historical_sync.ultravox_requests
    ADD CONSTRAINT ultravox_requests_pkey PRIMARY KEY (status);


--
-- Name: windows windows_pkey; Type: CONSTRAINT; Schema: historical_sync; Owner: -
--

ALTER TABLE ONLY historical_sync.windows
    ADD CONSTRAINT windows_pkey PRIMARY KEY (id);


--
-- Name: yoyo_lock yoyo_lock_pkey; Type: CONSTRAINT; Schema: historical_sync; Owner: -
--

ALTER TABLE ONLY historical_sync.yoyo_lock
    ADD CONSTRAINT yoyo_lock_pkey PRIMARY KEY (locked);


--
-- Name: agencies agencies_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.agencies
    ADD CONSTRAINT agencies_pkey PRIMARY KEY (id);


--
-- Name: calls calls_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.calls
    ADD CONSTRAINT calls_pkey PRIMARY KEY (agency_id, ultravox_call_id);


--
-- Name: historical_sync_jobs historical_sync_jobs_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.historical_sync_jobs
    ADD CONSTRAINT historical_sync_jobs_pkey PRIMARY KEY (id);


--
-- Name: historical_sync_jobs sync_jobs_attempt_counted; Type: CHECK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE public.historical_sync_jobs
    ADD CONSTRAINT sync_jobs_attempt_counted CHECK (((attempt >= 0) AND (fencing_token >= 0))) NOT VALID;


--
-- Name: historical_sync_jobs sync_jobs_completed_at_only_finished; Type: CHECK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE public.historical_sync_jobs
    ADD CONSTRAINT sync_jobs_completed_at_only_finished CHECK (((completed_at IS NULL) OR (status = ANY (ARRAY['completed'::public.sync_job_status, 'failed'::public.sync_job_status, 'cancelled'::public.sync_job_status])))) NOT VALID;


--
-- Name: historical_sync_jobs sync_jobs_counts_positive; Type: CHECK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE public.historical_sync_jobs
    ADD CONSTRAINT sync_jobs_counts_positive CHECK (((COALESCE(total_calls, 0) >= 0) AND (processed_calls >= 0) AND (imported_calls >= 0) AND (skipped_calls >= 0) AND (failed_calls >= 0))) NOT VALID;


--
-- Name: historical_sync_jobs sync_jobs_date_range; Type: CHECK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE public.historical_sync_jobs
    ADD CONSTRAINT sync_jobs_date_range CHECK (((date_from IS NULL) OR (date_from < date_to))) NOT VALID;


--
-- Name: historical_sync_jobs sync_jobs_lease_only_in_progress; Type: CHECK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE public.historical_sync_jobs
    ADD CONSTRAINT sync_jobs_lease_only_in_progress CHECK (((lease_expires_at IS NULL) OR (status = 'in_progress'::public.sync_job_status))) NOT VALID;


--
-- Name: historical_sync_jobs sync_jobs_next_attempt_only_pending; Type: CHECK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE public.historical_sync_jobs
    ADD CONSTRAINT sync_jobs_next_attempt_only_pending CHECK (((next_attempt_at IS NULL) OR (status = 'pending'::public.sync_job_status))) NOT VALID;


--
-- Name: users users_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);


--
-- Name: windows_of_job; Type: INDEX; Schema: historical_sync; Owner: -
--

CREATE INDEX windows_of_job ON historical_sync.windows USING btree (job_id);


--
-- Name: calls_newest_by_agency; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX calls_newest_by_agency ON public.calls USING btree (agency_id, created_at DESC);


--
-- Name: calls_newest_by_agent; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX calls_newest_by_agent ON public.calls USING btree (agency_id, agent_id, created_at DESC);


--
-- Name: historical_sync_jobs_due; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX historical_sync_jobs_due ON public.historical_sync_jobs USING btree (COALESCE(next_attempt_at, created_at)) WHERE (status = ANY (ARRAY['pending'::public.sync_job_status, 'in_progress'::public.sync_job_status]));


--
-- Name: historical_sync_jobs_newest_by_agency; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX historical_sync_jobs_newest_by_agency ON public.historical_sync_jobs USING btree (agency_id, created_at DESC, id DESC);


--
-- Name: historical_sync_jobs_one_active_per_agency; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX historical_sync_jobs_one_active_per_agency ON public.historical_sync_jobs USING btree (agency_id) WHERE (status = ANY (ARRAY['pending'::public.sync_job_status, 'in_progress'::public.sync_job_status]));


--
-- Name: idx_one_active_sync; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX idx_one_active_sync ON public.historical_sync_jobs USING btree (agency_id) WHERE (status = ANY (ARRAY['pending'::public.sync_job_status, 'in_progress'::public.sync_job_status]));


--
-- Name: historical_sync_jobs historical_sync_jobs_notify_pending; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER historical_sync_jobs_notify_pending AFTER INSERT OR UPDATE OF status ON public.historical_sync_jobs FOR EACH ROW WHEN ((new.status = 'pending'::public.sync_job_status)) EXECUTE FUNCTION historical_sync.notify_pending();


--
-- Name: windows windows_job_id_fkey; Type: FK CONSTRAINT; Schema: historical_sync; Owner: -
--

ALTER TABLE ONLY historical_sync.windows
    ADD CONSTRAINT windows_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.historical_sync_jobs(id) ON DELETE CASCADE;


--
-- Name: calls calls_agency_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.calls
    ADD CONSTRAINT calls_agency_id_fkey FOREIGN KEY (agency_id) REFERENCES public.agencies(id) ON DELETE CASCADE;


--
-- Name: historical_sync_jobs historical_sync_jobs_agency_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.historical_sync_jobs
    ADD CONSTRAINT historical_sync_jobs_agency_id_fkey FOREIGN KEY (agency_id) REFERENCES public.agencies(id) ON DELETE CASCADE;


--
-- Name: users users_agency_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_agency_id_fkey FOREIGN KEY (agency_id) REFERENCES public.agencies(id);


--
-- Name: ultravox_requests; Type: ROW SECURITY; Schema: historical_sync; Owner: -
--

ALTER TABLE historical_sync.ultravox_requests ENABLE ROW LEVEL SECURITY;

--
-- Name: windows; Type: ROW SECURITY; Schema: historical_sync; Owner: -
--

ALTER TABLE historical_sync.windows ENABLE ROW LEVEL SECURITY;

--
-- Name: calls; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.calls ENABLE ROW LEVEL SECURITY;

--
-- Name: users historical_sync_service_reads; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY historical_sync_service_reads ON public.users FOR SELECT TO historical_sync_service USING (true);


--
-- Name: users own; Type: POLICY; Schema: public; Owner: -
--

CREATE POLICY own ON public.users FOR SELECT TO authenticated USING (true);


--
-- Name: users; Type: ROW SECURITY; Schema: public; Owner: -
--

ALTER TABLE public.users ENABLE ROW LEVEL SECURITY;

--
-- Name: SCHEMA historical_sync; Type: ACL; Schema: -; Owner: -
--

GRANT USAGE ON SCHEMA historical_sync TO historical_sync_service;
GRANT USAGE ON SCHEMA historical_sync TO historical_sync_processor;


--
-- Name: SCHEMA public; Type: ACL; Schema: -; Owner: -
--

GRANT USAGE ON SCHEMA public TO historical_sync_service;
GRANT USAGE ON SCHEMA public TO historical_sync_processor;


--
-- Name: FUNCTION active_job(p_agency_id uuid); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.active_job(p_agency_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.active_job(p_agency_id uuid) TO historical_sync_service;


--
-- Name: FUNCTION caller(p_user_id uuid, p_session_id uuid); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.caller(p_user_id uuid, p_session_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.caller(p_user_id uuid, p_session_id uuid) TO historical_sync_service;


--
-- Name: FUNCTION cancel_job(p_agency_id uuid, p_job_id uuid); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.cancel_job(p_agency_id uuid, p_job_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.cancel_job(p_agency_id uuid, p_job_id uuid) TO historical_sync_service;


--
-- Name: FUNCTION claim_job(p_lease interval); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.claim_job(p_lease interval) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.claim_job(p_lease interval) TO historical_sync_processor;


--
-- Name: FUNCTION complete_job(p_job_id uuid, p_fencing_token bigint); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.complete_job(p_job_id uuid, p_fencing_token bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.complete_job(p_job_id uuid, p_fencing_token bigint) TO historical_sync_processor;


--
-- Name: FUNCTION count_ultravox_requests(p_counts jsonb); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.count_ultravox_requests(p_counts jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.count_ultravox_requests(p_counts jsonb) TO historical_sync_processor;


--
-- Name: FUNCTION create_job(p_agency_id uuid, p_requested_by uuid, p_date_from timestamp with time zone, p_date_to timestamp with time zone); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.create_job(p_agency_id uuid, p_requested_by uuid, p_date_from timestamp with time zone, p_date_to timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.create_job(p_agency_id uuid, p_requested_by uuid, p_date_from timestamp with time zone, p_date_to timestamp with time zone) TO historical_sync_service;


--
-- Name: FUNCTION fail_job(p_job_id uuid, p_fencing_token bigint, p_error text); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.fail_job(p_job_id uuid, p_fencing_token bigint, p_error text) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.fail_job(p_job_id uuid, p_fencing_token bigint, p_error text) TO historical_sync_processor;


--
-- Name: FUNCTION find_job(p_job_id uuid); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.find_job(p_job_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.find_job(p_job_id uuid) TO historical_sync_service;


--
-- Name: FUNCTION heartbeat(p_job_id uuid, p_fencing_token bigint, p_lease interval); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.heartbeat(p_job_id uuid, p_fencing_token bigint, p_lease interval) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.heartbeat(p_job_id uuid, p_fencing_token bigint, p_lease interval) TO historical_sync_processor;


--
-- Name: FUNCTION hold_lease(p_job_id uuid, p_fencing_token bigint); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.hold_lease(p_job_id uuid, p_fencing_token bigint) FROM PUBLIC;


--
-- Name: FUNCTION instant(p_text text); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.instant(p_text text) FROM PUBLIC;


--
-- Name: FUNCTION latest_job(p_agency_id uuid); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.latest_job(p_agency_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.latest_job(p_agency_id uuid) TO historical_sync_service;


--
-- Name: FUNCTION list_jobs(p_agency_id uuid, p_before uuid, p_limit integer); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.list_jobs(p_agency_id uuid, p_before uuid, p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.list_jobs(p_agency_id uuid, p_before uuid, p_limit integer) TO historical_sync_service;


--
-- Name: FUNCTION metrics(); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.metrics() FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.metrics() TO historical_sync_service;


--
-- Name: FUNCTION notify_pending(); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.notify_pending() FROM PUBLIC;


--
-- Name: FUNCTION release_job(p_job_id uuid, p_fencing_token bigint); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.release_job(p_job_id uuid, p_fencing_token bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.release_job(p_job_id uuid, p_fencing_token bigint) TO historical_sync_processor;


--
-- Name: FUNCTION reschedule_job(p_job_id uuid, p_fencing_token bigint, p_error text, p_retry_after interval, p_max_failures integer); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.reschedule_job(p_job_id uuid, p_fencing_token bigint, p_error text, p_retry_after interval, p_max_failures integer) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.reschedule_job(p_job_id uuid, p_fencing_token bigint, p_error text, p_retry_after interval, p_max_failures integer) TO historical_sync_processor;


--
-- Name: FUNCTION resume_job(p_agency_id uuid, p_job_id uuid); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.resume_job(p_agency_id uuid, p_job_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.resume_job(p_agency_id uuid, p_job_id uuid) TO historical_sync_service;


--
-- Name: FUNCTION rewind_window(p_job_id uuid, p_fencing_token bigint, p_window_id bigint); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.rewind_window(p_job_id uuid, p_fencing_token bigint, p_window_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.rewind_window(p_job_id uuid, p_fencing_token bigint, p_window_id bigint) TO historical_sync_processor;


--
-- Name: FUNCTION set_ultravox_key(p_agency_id uuid, p_key_encrypted bytea); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.set_ultravox_key(p_agency_id uuid, p_key_encrypted bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.set_ultravox_key(p_agency_id uuid, p_key_encrypted bytea) TO historical_sync_processor;


--
-- Name: FUNCTION split_window(p_job_id uuid, p_fencing_token bigint, p_window_id bigint); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.split_window(p_job_id uuid, p_fencing_token bigint, p_window_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.split_window(p_job_id uuid, p_fencing_token bigint, p_window_id bigint) TO historical_sync_processor;


--
-- Name: FUNCTION store_calls(p_agency_id uuid, p_calls jsonb, p_source text, p_fetched_at timestamp with time zone); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.store_calls(p_agency_id uuid, p_calls jsonb, p_source text, p_fetched_at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION store_page(p_job_id uuid, p_fencing_token bigint, p_window_id bigint, p_fetched_at timestamp with time zone, p_body jsonb, p_next text, p_total integer, p_lease interval); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.store_page(p_job_id uuid, p_fencing_token bigint, p_window_id bigint, p_fetched_at timestamp with time zone, p_body jsonb, p_next text, p_total integer, p_lease interval) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.store_page(p_job_id uuid, p_fencing_token bigint, p_window_id bigint, p_fetched_at timestamp with time zone, p_body jsonb, p_next text, p_total integer, p_lease interval) TO historical_sync_processor;


--
-- Name: FUNCTION token_revocation(p_user_id uuid, p_session_id uuid); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.token_revocation(p_user_id uuid, p_session_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.token_revocation(p_user_id uuid, p_session_id uuid) TO historical_sync_service;


--
-- Name: FUNCTION told_constraint(p_name text); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.told_constraint(p_name text) FROM PUBLIC;


--
-- Name: FUNCTION unfinished_windows(p_job_id uuid); Type: ACL; Schema: historical_sync; Owner: -
--

REVOKE ALL ON FUNCTION historical_sync.unfinished_windows(p_job_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION historical_sync.unfinished_windows(p_job_id uuid) TO historical_sync_processor;


--
-- Name: FUNCTION create_historical_sync_job(p_agency_id uuid, p_date_from timestamp with time zone, p_date_to timestamp with time zone); Type: ACL; Schema: public; Owner: -
--

REVOKE ALL ON FUNCTION public.create_historical_sync_job(p_agency_id uuid, p_date_from timestamp with time zone, p_date_to timestamp with time zone) FROM PUBLIC;


--
-- Name: COLUMN users.id; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT(id) ON TABLE public.users TO historical_sync_service;


--
-- Name: COLUMN users.agency_id; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT(agency_id) ON TABLE public.users TO historical_sync_service;


--
-- Name: COLUMN users.role; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT(role) ON TABLE public.users TO historical_sync_service;


--
-- Name: DEFAULT PRIVILEGES FOR FUNCTIONS; Type: DEFAULT ACL; Schema: public; Owner: -
--

ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO authenticated;


--
-- PostgreSQL database dump complete
--


