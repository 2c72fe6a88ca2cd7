-- Nobody but the two roles. Supabase grants new functions in public to its API roles by default.
do $$
declare
    v_function regprocedure;
    v_role text;
begin
    for v_function in
        select oid::regprocedure
        from pg_catalog.pg_proc
        where pronamespace = 'historical_sync'::regnamespace
            or (pronamespace = 'public'::regnamespace and proname = 'create_historical_sync_job')
    loop
        execute 'revoke execute on function ' || v_function || ' from public';
        for v_role in select rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated') loop
            execute 'revoke execute on function ' || v_function || ' from ' || v_role;
        end loop;
    end loop;
end
$$;

revoke all on schema historical_sync from public;
grant usage on schema public, historical_sync to historical_sync_service, historical_sync_processor;

grant select (id, agency_id, role) on public.users to historical_sync_service;

drop policy if exists historical_sync_service_reads on public.users;
create policy historical_sync_service_reads on public.users
    for select to historical_sync_service using (true);
