-- Who asks: why the token must not be accepted, or the user's agency, null where there is none. Reads public.users
-- with the rights of the web service.
create or replace function historical_sync.caller(p_user_id uuid, p_session_id uuid)
returns table (revocation text, agency_id uuid)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select revocation, users.agency_id
    from historical_sync.token_revocation(p_user_id, p_session_id) as revocation
    left join public.users on users.id = p_user_id and revocation is null
$$;
