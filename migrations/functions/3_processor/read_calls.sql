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
        coalesce(id, made_up_id) as ultravox_call_id,
        case
            when id is null then 'The call has no id.'
            when created_at is null then 'The call does not say when it was created.'
        end as failure,
        coalesce(call ->> 'agentId', call #>> '{agent,agentId}') as agent_id,
        created_at,
        case when joined ~ instant then joined::timestamptz end as joined_at,
        case when ended ~ instant then ended::timestamptz end as ended_at,
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
        number,
        -- An index takes no long one.
        case when length(id) > 1000 then md5(id) else coalesce(id, made_up_id) end as listed_id
    from unnest(p_calls) with ordinality as listed (text, number)
    cross join historical_sync.iso_8601() as instant
    cross join lateral (select listed.text::jsonb as call offset 0) as parsed
    cross join lateral (
        select nullif(call ->> 'callId', '') as id,
            case when nullif(call ->> 'callId', '') is null then 'unknown ' || md5(listed.text) end as made_up_id,
            -- Postgres would round what is finer than it keeps, up to the end of a range.
            regexp_replace(call ->> 'created', '(\.\d{6})\d+', '\1') as created,
            regexp_replace(call ->> 'joined', '(\.\d{6})\d+', '\1') as joined,
            regexp_replace(call ->> 'ended', '(\.\d{6})\d+', '\1') as ended
        offset 0
    ) as said
    cross join lateral (select case when created ~ instant then created::timestamptz end as created_at offset 0) as dated
$$;
