-- Whether an error is the fault of the row that was being written (its values, a constraint, a trigger of the project's
-- own that refuses it), and not of everything else: locks, rights, disks, a server that shuts down.
create or replace function historical_sync.blames_row(p_sqlstate text)
returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select left(p_sqlstate, 2)
        not in ('08', '25', '26', '28', '40', '42', '53', '55', '57', '58', 'F0', 'HS', 'XX')
$$;
