-- On Supabase a signed-in user reads the rows of the own agency in the tables that the migrations have created, and does
-- nothing else with them; anon does nothing at all. By its default privileges both have every right to a new table. The
-- tables that a project had are left as they are, and so is a database without Supabase's API.
do $$
declare
    v_table regclass;
    v_anon text := (select ', anon' from pg_catalog.pg_roles where rolname = 'anon');
begin
    if not historical_sync.has_signed_in_users() then
        return;
    elsif not has_schema_privilege('auth', 'usage') then
        raise warning using message = current_user || ' may not use the schema auth, so that nobody who is signed in can'
            ' read calls and jobs: let its owner run `grant usage on schema auth to ' || current_user || '` and migrate again';
        return;
    end if;

    grant execute on function historical_sync.own_agency_id() to authenticated;
    for v_table in
        select name
        from historical_sync.created_tables
        where name in (to_regclass('public.calls'), to_regclass('public.historical_sync_jobs'))
    loop
        execute 'revoke all on ' || v_table || ' from public, authenticated' || coalesce(v_anon, '');
        execute 'grant select on ' || v_table || ' to authenticated';
        -- Not dropped and created again: that would lock out every reader.
        if not exists (
            select from pg_catalog.pg_policy where polrelid = v_table and polname = 'historical_sync_own_agency'
        ) then
            -- In a select of its own the function is called once for a query, not for each row.
            execute 'create policy historical_sync_own_agency on ' || v_table
                || ' for select to authenticated using (agency_id = (select historical_sync.own_agency_id()))';
        end if;
    end loop;
end
$$;
