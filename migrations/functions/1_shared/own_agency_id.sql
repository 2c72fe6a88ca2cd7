-- The agency of the user whom Supabase's API has signed in, for the policies of read_own_agency.sql; null where there is
-- none. Reads public.users with the rights of the owner: users may have no right to it, or policies that ask for this.
create or replace function historical_sync.own_agency_id()
returns uuid
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select agency_id from public.users where id = auth.uid()
$$;
