-- The agencies' own API keys as they are stored, encrypted: for an operator who wants them encrypted with a newer key, or
-- to know whether they can be read.
create or replace function historical_sync.stored_ultravox_keys()
returns table (agency_id uuid, key_encrypted bytea)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select id, ultravox_api_key_encrypted
    from public.agencies
    where ultravox_api_key_encrypted is not null
    order by id
$$;
