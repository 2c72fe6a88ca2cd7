-- What tables of the project's own lack of ours (service/migrate/tables.py lists it all, and service/migrate/adoption.py
-- has looked at what they have). Their rows have none of it: what cannot be made up for them may be null.
alter table public.agencies
    add column if not exists name text;

alter table public.historical_sync_jobs
    add column if not exists cursor text,
    add column if not exists error_message text,
    add column if not exists last_error_at timestamptz,
    add column if not exists max_calls integer default 100,
    add column if not exists started_at timestamptz,
    add column if not exists last_activity_at timestamptz;

alter table public.calls
    add column if not exists agency_id uuid references public.agencies (id) on delete cascade,
    add column if not exists ultravox_call_id text,
    add column if not exists source text constraint calls_source_known check (source in ('historical_sync', 'webhook')),
    add column if not exists agent_id text,
    add column if not exists created_at timestamptz,
    add column if not exists joined_at timestamptz,
    add column if not exists ended_at timestamptz,
    add column if not exists end_reason text,
    add column if not exists billing_status text,
    add column if not exists billed_seconds numeric,
    add column if not exists medium text,
    add column if not exists short_summary text,
    add column if not exists summary text,
    add column if not exists metadata jsonb not null default '{}',
    add column if not exists data jsonb;

-- A statement of its own, for it builds on two of the columns.
alter table public.calls
    add column if not exists duration_seconds numeric
        generated always as (extract(epoch from ended_at - joined_at)) stored;

-- The default is for new rows: nobody has imported the ones that are there.
do $$
declare
    v_column text;
begin
    for v_column in
        select ours
        from unnest(array['imported_at', 'updated_at']) as ours
        where not exists (
            select from pg_catalog.pg_attribute where attrelid = 'public.calls'::regclass and attname = ours
        )
    loop
        execute 'alter table public.calls add column ' || quote_ident(v_column) || ' timestamptz';
        execute 'alter table public.calls alter column ' || quote_ident(v_column) || ' set default now()';
    end loop;
end
$$;

-- `on conflict (agency_id, ultravox_call_id)` needs one, and rows of the project's own that have neither do not mind.
do $$
begin
    if not exists (
        select
        from pg_catalog.pg_index
        where indrelid = 'public.calls'::regclass
            and indisunique and indisvalid and indimmediate and indpred is null and indexprs is null
            and indnkeyatts = 2
            and array['agency_id', 'ultravox_call_id'] = array(
                select attname::text
                from pg_catalog.pg_attribute
                where attrelid = indrelid and attnum in (indkey[0], indkey[1])
                order by attname
            )
    ) then
        create unique index calls_one_per_agency_and_call on public.calls (agency_id, ultravox_call_id);
    end if;
end
$$;

create index if not exists calls_newest_by_agency on public.calls (agency_id, created_at desc);
create index if not exists calls_newest_by_agent on public.calls (agency_id, agent_id, created_at desc);
