-- Where a table of the project's own brings a duration_seconds that is not generated, an import fills it.
create or replace function historical_sync.fill_duration()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.duration_seconds := coalesce(extract(epoch from new.ended_at - new.joined_at), new.duration_seconds);
    return new;
end
$$;
do $$
begin
    if exists (
        select from pg_catalog.pg_attribute
        where attrelid = 'public.calls'::regclass and attname = 'duration_seconds' and attgenerated = ''
    ) then
        create or replace trigger calls_fill_duration
            before insert or update on public.calls
            for each row when (new.source = 'historical_sync')
            execute function historical_sync.fill_duration();
    end if;
end
$$;
