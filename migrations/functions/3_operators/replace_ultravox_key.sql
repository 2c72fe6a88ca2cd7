-- Stores an agency's API key encrypted anew, unless another one has been set since it was read: that one stays.
create or replace function historical_sync.replace_ultravox_key(p_agency_id uuid, p_old bytea, p_new bytea)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    update public.agencies
    set ultravox_api_key_encrypted = p_new, updated_at = now()
    where id = p_agency_id and ultravox_api_key_encrypted = p_old;
    return found;
end
$$;
