-- A Supabase project has both tables already, with columns, policies and an enum for role of its own: only what is
-- missing is added.
do $$
begin
    if to_regclass('public.agencies') is null then
        create table public.agencies (
            id uuid primary key default gen_random_uuid(),
            name text not null
        );
        alter table public.agencies enable row level security;
    end if;
    if to_regclass('public.users') is null then
        create table public.users (
            id uuid primary key
        );
        alter table public.users enable row level security;
    end if;
end
$$;

alter table public.agencies
    add column if not exists ultravox_api_key_encrypted bytea,
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists updated_at timestamptz not null default now();

alter table public.users
    add column if not exists agency_id uuid references public.agencies (id) on delete set null,
    add column if not exists role text not null default 'member';

comment on column public.agencies.ultravox_api_key_encrypted is
    'The agency''s Ultravox API key under CREDENTIALS_KEY; written by set-ultravox-key.';
