-- The texts of calls as JSON, in their order, with the id of each (null where it has none) and what it says of its times.
-- Raises a data exception where Postgres cannot take a text or a number.
create or replace function historical_sync.parse_calls(p_calls text[])
returns table (text text, number bigint, call jsonb, id text, created text, joined text, ended text)
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select listed.text, listed.number, call, nullif(call ->> 'callId', '') as id,
        -- Postgres would round what is finer than it keeps, up to the end of a range.
        regexp_replace(call ->> 'created', '(\.\d{6})\d+', '\1') as created,
        regexp_replace(call ->> 'joined', '(\.\d{6})\d+', '\1') as joined,
        regexp_replace(call ->> 'ended', '(\.\d{6})\d+', '\1') as ended
    from unnest(p_calls) with ordinality as listed (text, number)
    cross join lateral (select listed.text::jsonb as call offset 0) as parsed
$$;
