-- Half of statement_timeout, so that a wait for a lock is told from a slow statement. On the role, as the
-- statement_timeout is, and only where an operator has set none. Who may not set it leaves it to each connection, which
-- sets its own.
do $$
declare
    v_role text;
    v_limit text;
begin
    for v_role, v_limit in
        values ('historical_sync_service', '2500ms'), ('historical_sync_processor', '15s')
    loop
        if exists (
            select
            from pg_catalog.pg_db_role_setting
            cross join unnest(setconfig) as setting
            where setdatabase = 0 and setrole = v_role::regrole and starts_with(setting, 'lock_timeout=')
        ) then
            continue;
        end if;
        begin
            execute 'alter role ' || quote_ident(v_role) || ' set lock_timeout = ' || quote_literal(v_limit);
        exception
            when unique_violation or internal_error then
                -- "tuple concurrently updated": the migration of another database of this cluster has just set it.
                null;
            when insufficient_privilege then
                raise warning using message = current_user || ' may not limit how long ' || v_role
                    || ' waits for locks: let who created that role run `alter role ' || v_role
                    || ' set lock_timeout = ''' || v_limit || '''`';
        end;
    end loop;
end
$$;
