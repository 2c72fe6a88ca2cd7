-- Stores an agency's API key as the processor has encrypted it: no key is in the database in the clear. Null where there
-- is no such agency.
create or replace function historical_sync.set_ultravox_key(p_agency_id uuid, p_key_encrypted bytea)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    update public.agencies
    set ultravox_api_key_encrypted = p_key_encrypted, updated_at = now()
    where id = p_agency_id;
    return found;
end
$$;
