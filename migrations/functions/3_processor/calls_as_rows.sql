-- A page's calls, each a JSON text as the API sent it, as rows of the table calls; each id once. A call without an id
-- gets one made up from its text. A field that is not what it should be is null; only created_at is indispensable.
-- Raises a data exception where Postgres cannot take a text or a number.
create or replace function historical_sync.calls_as_rows(p_calls text[])
returns table (
    ultravox_call_id text,
    has_id boolean,
    agent_id text,
    created_at timestamptz,
    joined_at timestamptz,
    ended_at timestamptz,
    end_reason text,
    billing_status text,
    billed_seconds numeric,
    medium text,
    short_summary text,
    summary text,
    metadata jsonb,
    data jsonb
)
language sql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
    select distinct on (ultravox_call_id)
        coalesce(call ->> 'callId', 'unknown ' || md5(listed.text)) as ultravox_call_id,
        call ->> 'callId' is not null as has_id,
        coalesce(call ->> 'agentId', call #>> '{agent,agentId}') as agent_id,
        case when call ->> 'created' ~ iso_8601.instant then (call ->> 'created')::timestamptz end as created_at,
        case when call ->> 'joined' ~ iso_8601.instant then (call ->> 'joined')::timestamptz end as joined_at,
        case when call ->> 'ended' ~ iso_8601.instant then (call ->> 'ended')::timestamptz end as ended_at,
        call ->> 'endReason' as end_reason,
        call ->> 'billingStatus' as billing_status,
        substring(call ->> 'billedDuration' from '^(\d+(?:\.\d+)?)s$')::numeric as billed_seconds,
        case jsonb_typeof(call -> 'medium')
            when 'object' then (select min(name) from jsonb_object_keys(call -> 'medium') as names (name))
            when 'string' then call ->> 'medium'
        end as medium,
        call ->> 'shortSummary' as short_summary,
        call ->> 'summary' as summary,
        case jsonb_typeof(call -> 'metadata') when 'object' then call -> 'metadata' else '{}' end as metadata,
        call as data
    from unnest(p_calls) with ordinality as listed (text, number)
    cross join lateral (select listed.text::jsonb as call offset 0) as parsed
    cross join (
        values (
            '^(?!0000)\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|[12]\d))'
            '[T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,30})?)?(Z|[+-](0\d|1[0-5])(:?[0-5]\d)?)?$'
        )
    ) as iso_8601 (instant)
    -- Of several with one id, one that can be stored.
    order by ultravox_call_id, (call ->> 'created' ~ iso_8601.instant) is not true, listed.number
$$;
