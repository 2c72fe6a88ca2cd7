-- Where a window is to be cut: about in its middle, at a whole day, hour or minute of UTC, the coarsest that leaves a quarter
-- of it on each side. Between two such units no call is lost to an API that rounds the bounds it is asked for by less.
-- Where that is asked for, a whole second will do. Null where there is none.
create or replace function historical_sync.seam_of(p_from timestamptz, p_to timestamptz, p_to_the_second boolean)
returns timestamptz
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select seam
    from unnest(array['day', 'hour', 'minute', 'second'], array[4, 4, 4, 1000]) with ordinality as units (unit, parts, number)
    cross join lateral (
        select date_trunc(unit, p_from + (p_to - p_from) / 2, 'UTC') as seam, (p_to - p_from) / parts as least_width
    ) as halved
    where (unit <> 'second' or p_to_the_second)
        and seam > p_from and seam < p_to
        and seam - p_from >= least_width and p_to - seam >= least_width
    order by number
    limit 1
$$;
