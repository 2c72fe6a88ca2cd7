-- The search_path under which our functions write rows of public: a trigger of the project's own may name its tables
-- without a schema, and then has to find them, and nobody's temporary ones in their place. Where our roles may create
-- objects in public, nothing there can be trusted; such triggers do not work then, and the migration says so.
create or replace function historical_sync.path_for_triggers()
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when has_schema_privilege('historical_sync_service', 'public', 'create')
            or has_schema_privilege('historical_sync_processor', 'public', 'create')
        then 'pg_catalog, pg_temp'
        else 'pg_catalog, public, pg_temp'
    end
$$;
