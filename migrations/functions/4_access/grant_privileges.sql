-- Nobody but the two roles executes our functions, and each only those that it needs. Supabase grants new functions in
-- public to its API roles by default.
do $$
declare
    v_function regprocedure;
    v_name text;
    v_role text;
begin
    for v_function, v_name in
        select oid::regprocedure, proname
        from pg_catalog.pg_proc
        where pronamespace = 'historical_sync'::regnamespace
            or (pronamespace = 'public'::regnamespace and proname = 'create_historical_sync_job')
    loop
        execute 'revoke execute on function ' || v_function
            || ' from public, historical_sync_service, historical_sync_processor';
        for v_role in select rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated') loop
            execute 'revoke execute on function ' || v_function || ' from ' || v_role;
        end loop;
        if v_name in (
            'caller', 'token_revocation', 'create_job', 'active_job', 'latest_job', 'find_job', 'list_jobs',
            'cancel_job', 'resume_job', 'job_failures', 'coverage', 'metrics', 'source_metrics'
        ) then
            execute 'grant execute on function ' || v_function || ' to historical_sync_service';
        elsif v_name in (
            'claim_due_job', 'heartbeat', 'unfinished_windows', 'plan_job', 'cut_window', 'restart_window', 'commit_page',
            'compare_with_source', 'forget_listed_calls', 'complete_job', 'fail_job', 'reschedule_job', 'release_job', 'set_ultravox_key',
            'count_ultravox_requests',
            -- Of the release before.
            'claim_job', 'split_window', 'rewind_window', 'store_page'
        ) then
            execute 'grant execute on function ' || v_function || ' to historical_sync_processor';
        end if;
    end loop;
end
$$;

-- The two may create temporary objects, as everybody may in a database: the privilege is PUBLIC's, and to revoke it would
-- take it from the project's own programs. Instead every function of ours looks in pg_catalog before pg_temp.
revoke all on schema historical_sync from public;
revoke all on all tables in schema historical_sync from public;
-- Who does not own public grants nothing there, and is warned: PUBLIC may use it nearly everywhere.
grant usage on schema public, historical_sync to historical_sync_service, historical_sync_processor;

grant select (id, agency_id, role) on public.users to historical_sync_service;

-- Not dropped and created again: that would lock out every reader of the project's users.
do $$
begin
    if not exists (
        select from pg_catalog.pg_policy
        where polrelid = 'public.users'::regclass and polname = 'historical_sync_service_reads'
    ) then
        create policy historical_sync_service_reads on public.users
            for select to historical_sync_service using (true);
    end if;
end
$$;

-- A project can grant new tables to its API roles by default, in every schema.
do $$
declare
    v_role text;
begin
    for v_role in select rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated') loop
        execute 'revoke all on schema historical_sync from ' || v_role;
        execute 'revoke all on all tables in schema historical_sync from ' || v_role;
    end loop;
end
$$;

-- Before Postgres 15 everybody could create objects in public, and a database that was upgraded still allows it.
do $$
begin
    if has_schema_privilege('historical_sync_service', 'public', 'create')
        or has_schema_privilege('historical_sync_processor', 'public', 'create')
    then
        raise warning using message = 'everybody may create objects in the schema public, so that triggers of the tables'
            ' this service writes must name their tables with a schema: better `revoke create on schema public from public`';
    end if;
end
$$;
