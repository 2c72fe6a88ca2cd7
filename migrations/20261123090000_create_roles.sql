-- Two least-privileged roles. They cannot log in until an operator gives them a password:
--   alter role historical_sync_service login password '…';
-- A role belongs to the whole cluster, so another database's migration may have created it, even just now.
do $$
declare
    v_role text;
begin
    foreach v_role in array array['historical_sync_service', 'historical_sync_processor'] loop
        begin
            execute 'create role ' || quote_ident(v_role) || ' nologin';
        exception when duplicate_object or unique_violation then
            null;
        end;
    end loop;
end
$$;

-- On the role, not on the connection: it also holds behind a pooler in transaction mode.
do $$
begin
    alter role historical_sync_service set statement_timeout = '5s';
    alter role historical_sync_processor set statement_timeout = '30s';
exception when internal_error then
    -- "tuple concurrently updated": another database's migration is setting the very same.
    null;
end
$$;
