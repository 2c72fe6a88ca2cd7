-- How many calls of an agency have arrived, by day in UTC, from the year 1 on; days without any are not among them. The
-- index calls_newest_by_agency holds all that is asked for.
create or replace function historical_sync.stored_days(p_agency_id uuid, p_from timestamptz, p_to timestamptz)
returns table (day date, calls integer)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select (created_at at time zone 'UTC')::date as day, count(*)::integer
    from public.calls
    where agency_id = p_agency_id and created_at >= greatest(p_from, '0001-01-01 00:00:00+00') and created_at < p_to
    group by day
$$;
