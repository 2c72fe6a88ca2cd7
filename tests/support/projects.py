"""What projects have in their databases before our first migration, as far as we meet it."""

# The agency that SUPABASE has.
AGENCY = "00000000-0000-4000-8000-00000000000a"

# What a Supabase project has before our migrations, as far as they meet it.
SUPABASE = """
    do $$ begin
        create role anon nologin;
        create role authenticated nologin;
    exception when duplicate_object or unique_violation then null; end $$;
    alter default privileges in schema public grant all on functions to anon, authenticated;
    create type public.user_role as enum ('owner', 'viewer');
    create table public.agencies (id uuid primary key default gen_random_uuid(), name text, plan text);
    create table public.users (
        id uuid primary key, agency_id uuid references public.agencies, role public.user_role, email text
    );
    alter table public.users enable row level security;
    create policy own on public.users for select to authenticated using (true);
    insert into public.agencies (id, name) values ('00000000-0000-4000-8000-00000000000a', 'Old');
    insert into public.users (id, agency_id, role)
    values ('00000000-0000-4000-8000-00000000000b', '00000000-0000-4000-8000-00000000000a', 'owner');
"""
ORIGINAL = """
    create type public.sync_job_status as enum ('pending', 'in_progress', 'completed', 'failed', 'cancelled');
    create table public.historical_sync_jobs (
        id uuid primary key default gen_random_uuid(),
        agency_id uuid not null references public.agencies on delete cascade,
        date_from timestamptz, date_to timestamptz not null,
        status public.sync_job_status not null default 'pending',
        total_calls integer,
        processed_calls integer not null default 0, imported_calls integer not null default 0,
        skipped_calls integer not null default 0, failed_calls integer not null default 0,
        cursor text, error_message text, last_error_at timestamptz, max_calls integer default 100,
        created_at timestamptz not null default now(), started_at timestamptz, completed_at timestamptz,
        last_activity_at timestamptz
    );
    create unique index idx_one_active_sync on public.historical_sync_jobs (agency_id)
        where status in ('pending', 'in_progress');
    insert into public.historical_sync_jobs (agency_id, date_to, status, processed_calls, completed_at)
    values ('00000000-0000-4000-8000-00000000000a', now(), 'completed', 7, now());
    insert into public.historical_sync_jobs (agency_id, date_to, status, completed_at)
    values ('00000000-0000-4000-8000-00000000000a', now(), 'pending', now());
"""
OLD_FUNCTION = """
    create function public.create_historical_sync_job(
        p_agency_id uuid, p_date_from timestamptz default null, p_date_to timestamptz default now(),
        p_max_calls integer default 100
    ) returns uuid language plpgsql security definer as $$
    begin
        if exists (select from public.historical_sync_jobs
                   where agency_id = p_agency_id and status in ('pending', 'in_progress')) then
            raise exception 'A sync job already exists for this agency';
        end if;
        insert into public.historical_sync_jobs (agency_id, date_from, date_to, max_calls)
        values (p_agency_id, p_date_from, p_date_to, p_max_calls);
        return (select id from public.historical_sync_jobs order by created_at desc limit 1);
    end $$;
"""
# Supabase's own: its owner reads it by a grant and past row-level security.
AUTH = """
    create schema auth;
    create table auth.users (id uuid primary key, banned_until timestamptz, deleted_at timestamptz);
    create table auth.sessions (id uuid primary key, user_id uuid);
    alter table auth.users enable row level security;
    alter table auth.sessions enable row level security;
    insert into auth.users (id) values ('00000000-0000-4000-8000-00000000000b');
"""
# What Supabase's API needs, as a superuser has made it. It logs in as `authenticator` and becomes one of the others.
API = """
    do $$
    declare
        v_role text;
    begin
        foreach v_role in array array[
            'anon nologin', 'authenticated nologin', 'service_role nologin bypassrls', 'authenticator noinherit login'
        ] loop
            begin
                execute 'create role ' || v_role;
            exception when duplicate_object or unique_violation then
                null;
            end;
        end loop;
    end $$;
    grant anon, authenticated, service_role to authenticator;
    create schema auth;
    grant usage on schema auth to public;
    create function auth.uid() returns uuid language sql stable as $$
        select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
    $$;
"""
# Of the role that migrates, on Supabase.
API_PRIVILEGES = """
    alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
    alter default privileges in schema public grant all on functions to anon, authenticated, service_role;
    alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
"""

# Jobs in an ORIGINAL table that no update can be made of once the checks are there, and finished ones like them.
IMPOSSIBLE_JOBS = """
    insert into public.agencies (id, name)
    select ('00000000-0000-4000-8000-0000000000c' || number)::uuid, 'Agency ' || number
    from generate_series(1, 5) as number;
    insert into public.historical_sync_jobs (id, agency_id, date_from, date_to, status, processed_calls, completed_at)
    select ('00000000-0000-4000-8000-0000000000d' || number)::uuid,
        ('00000000-0000-4000-8000-0000000000c' || least(number, 5))::uuid,
        date_from::timestamptz, date_to::timestamptz, status::public.sync_job_status, processed_calls, null
    from (
        values
            (1, null, '2026-03-02', 'pending', -1),
            (2, '2026-03-02', '2026-03-01', 'in_progress', 3),
            (3, null, 'infinity', 'pending', 0),
            (4, '0044-03-15 BC', '2026-03-01', 'in_progress', 0),
            (5, null, '2026-03-02', 'pending', 0),
            (6, null, '2026-03-02', 'failed', -1),
            (7, '2026-03-02', '2026-03-01', 'completed', 3),
            (8, '-infinity', 'infinity', 'cancelled', 0)
    ) as jobs (number, date_from, date_to, status, processed_calls);
"""
