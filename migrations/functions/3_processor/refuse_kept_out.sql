-- Raises an exception where calls were written and are not there: a trigger of the project's own keeps them out, and does
-- not say so. They are not stored, and must not pass for calls that were there already.
create or replace function historical_sync.refuse_kept_out(p_calls bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_calls > 0 then
        raise exception 'a trigger keeps % calls out of the table calls', p_calls;
    end if;
end
$$;
