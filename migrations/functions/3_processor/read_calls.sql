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
    with said as materialized (select * from historical_sync.parse_calls(p_calls)),
    page as materialized (
        -- To look at all instants of a page at once takes a tenth of the time, and nearly always they are sound.
        select string_agg(concat_ws(E'\n', created, joined, ended), E'\n')
            ~ ('^(' || historical_sync.iso_8601() || '(\n|$))*$') as is_sound,
            '^' || historical_sync.iso_8601() || '$' as instant
        from said
    )
    select
        coalesce(id, 'unknown ' || md5(text)) as ultravox_call_id,
        case when id is null then 'The call has no id.'
            when created_at is null then 'The call does not say when it was created.' end as failure,
        coalesce(call ->> 'agentId', call #>> '{agent,agentId}') as agent_id,
        created_at,
        case when is_sound or joined ~ instant then joined::timestamptz end as joined_at,
        case when is_sound or ended ~ instant then ended::timestamptz end as ended_at,
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
        case when length(id) > 1000 then md5(id) else coalesce(id, 'unknown ' || md5(text)) end as listed_id
    from said cross join page
    cross join lateral (
        select case when is_sound or created ~ instant then created::timestamptz end as created_at offset 0
    ) as dated
$$;
