-- One row per Ultravox call. The typed columns are what a dashboard filters, sorts and sums by; data is the whole
-- object as Ultravox sent it, so that no field is lost. Ids and enums of Ultravox are text: they grow.
do $$
begin
    if to_regclass('public.calls') is not null then
        return;
    end if;
    create table public.calls (
        agency_id uuid not null references public.agencies (id) on delete cascade,
        ultravox_call_id text not null,
        source text not null,
        agent_id text,
        created_at timestamptz not null,
        joined_at timestamptz,
        ended_at timestamptz,
        -- ended − joined: Ultravox has no such field.
        duration_seconds numeric generated always as (extract(epoch from ended_at - joined_at)) stored,
        end_reason text,
        billing_status text,
        billed_seconds numeric,
        medium text,
        short_summary text,
        summary text,
        metadata jsonb not null default '{}',
        data jsonb not null,
        imported_at timestamptz not null default now(),
        updated_at timestamptz not null default now(),
        primary key (agency_id, ultravox_call_id),
        constraint calls_source_known check (source in ('historical_sync', 'webhook'))
    );
    alter table public.calls enable row level security;
end
$$;

alter table public.calls
    -- When the API was asked: what was asked later wins.
    add column if not exists fetched_at timestamptz not null default now();

-- The indexes, and what a table of the project's own lacks: 20261124000000_complete_existing_tables.sql.
