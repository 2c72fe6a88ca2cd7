-- The part of a day, in UTC, that lies within a job's range; empty where none does.
create or replace function historical_sync.part_of_day(p_day date, p_from timestamptz, p_to timestamptz)
returns tstzrange
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select tstzrange(p_day::timestamp at time zone 'UTC', (p_day + 1)::timestamp at time zone 'UTC')
        * tstzrange(p_from, p_to)
$$;
