-- Inserts and updates calls, newest knowledge first; returns how many rows are new or changed.
create or replace function historical_sync.store_calls(
    p_agency_id uuid,
    p_calls jsonb,
    p_source text,
    p_fetched_at timestamptz
)
returns integer
language sql
set search_path = pg_catalog, pg_temp
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
