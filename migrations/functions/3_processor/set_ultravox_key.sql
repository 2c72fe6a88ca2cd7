create or replace function historical_sync.set_ultravox_key(p_agency_id uuid, p_key_encrypted bytea)
returns boolean
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    update public.agencies
    set ultravox_api_key_encrypted = p_key_encrypted, updated_at = now()
    where id = p_agency_id
    returning true
$$;
