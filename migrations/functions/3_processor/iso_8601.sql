-- What an instant of the API looks like, as a regular expression without anchors: a day that exists and a time, in full or
-- to the minute. What does not match would stop the cast to timestamptz, or be taken for another time than it means.
-- Without look-ahead and counted repetitions, which make it three times as slow.
create or replace function historical_sync.iso_8601()
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select
        '(\d\d\d[1-9]|\d\d[1-9]0|\d[1-9]00|[1-9]000)'
        '-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|[12]\d))'
        '[T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?(Z|[+-](0\d|1[0-5])(:?[0-5]\d)?)?'
$$;
