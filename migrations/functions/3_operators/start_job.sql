-- Creates a job that no user has asked for, but an operator or cron. Null where there is no such agency.
create or replace function historical_sync.start_job(p_agency_id uuid, p_date_from timestamptz, p_date_to timestamptz)
returns uuid
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    select historical_sync.create_job(agency.id, null, p_date_from, p_date_to)
    from public.agencies as agency
    where agency.id = p_agency_id
$$;
