-- An ISO 8601 instant, or null for anything else: a field that is not one must not stop an import.
create or replace function historical_sync.instant(p_text text)
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return case when p_text ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d' then p_text::timestamptz end;
exception when data_exception then
    return null;
end
$$;
