-- The id of a call, read from a text that need not be JSON; made up from it where there is none to be found.
create or replace function historical_sync.id_in(p_call text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return coalesce(left(nullif(p_call::jsonb ->> 'callId', ''), 1000), 'unknown ' || md5(p_call));
exception when data_exception or program_limit_exceeded then
    return coalesce(left(substring(p_call from '"callId"\s*:\s*"([^"\\]+)"'), 1000), 'unknown ' || md5(p_call));
end
$$;
