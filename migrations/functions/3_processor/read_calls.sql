-- A page's calls, each a JSON text as the API sent it, as rows of the table calls, in the page's order. `failure` says why a
-- call cannot be stored. One without an id gets an id made up from its text. A field that is not what it should be is
-- null. Raises a data exception where Postgres cannot take a text or a number.
create or replace function historical_sync.read_calls(p_calls text[])
returns table (
    ultravox_call_id text,
    failure text,
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
    data jsonb,
    number bigint,
    listed_id text
)
language sql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
    select
        coalesce(nullif(call ->> 'callId', ''), 'unknown ' || md5(listed.text)) as ultravox_call_id,
        case
            when nullif(call ->> 'callId', '') is null then 'The call has no id.'
            when is_dated is not true then 'The call does not say when it was created.'
        end as failure,
        coalesce(call ->> 'agentId', call #>> '{agent,agentId}') as agent_id,
        -- Postgres would round what is finer than it keeps, up to the end of a range.
        case when is_dated then regexp_replace(call ->> 'created', '(\.\d{6})\d+', '\1')::timestamptz end as created_at,
        case when call ->> 'joined' ~ instant then (call ->> 'joined')::timestamptz end as joined_at,
        case when call ->> 'ended' ~ instant then (call ->> 'ended')::timestamptz end as ended_at,
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
        call as data,
        listed.number,
        -- An index takes no long one.
        case when length(call ->> 'callId') > 1000 then md5(call ->> 'callId')
            else coalesce(nullif(call ->> 'callId', ''), 'unknown ' || md5(listed.text)) end as listed_id
    from unnest(p_calls) with ordinality as listed (text, number)
    cross join historical_sync.iso_8601() as instant
    cross join lateral (select listed.text::jsonb as call offset 0) as parsed
    cross join lateral (select call ->> 'created' ~ instant as is_dated offset 0) as checked
$$;
