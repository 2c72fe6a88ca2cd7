-- Adds {"<status>": <requests>, …}.
create or replace function historical_sync.count_ultravox_requests(p_counts jsonb)
returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    insert into historical_sync.ultravox_requests as known (status, requests)
    select key::integer, value::bigint
    from jsonb_each_text(p_counts)
    order by key::integer
    on conflict (status) do update set requests = known.requests + excluded.requests
$$;
