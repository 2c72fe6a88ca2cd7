-- Two least-privileged roles. They cannot log in until an operator gives them a password:
--   alter role historical_sync_service login password '…';
-- A role belongs to the whole cluster, so another database's migration may have created it, even just now; the owner of
-- this database then need not be one who may create roles.
do $$
declare
    v_role text;
begin
    foreach v_role in array array['historical_sync_service', 'historical_sync_processor'] loop
        if exists (select from pg_catalog.pg_roles where rolname = v_role) then
            continue;
        end if;
        begin
            execute 'create role ' || quote_ident(v_role) || ' nologin';
            -- On the role, not on the connection: it also holds behind a pooler in transaction mode.
            execute 'alter role ' || quote_ident(v_role) || ' set statement_timeout = '
                || quote_literal(case v_role when 'historical_sync_service' then '5s' else '30s' end);
        exception when duplicate_object or unique_violation then
            null;
        end;
    end loop;
end
$$;
