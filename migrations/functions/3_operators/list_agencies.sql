-- Every agency for its operators: whether it has an API key of its own, and its active job, else the newest, with the time
-- of what was last heard of that.
create or replace function historical_sync.list_agencies()
returns table (id uuid, name text, has_key boolean, job_status text, job_at timestamptz)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select agency.id, agency.name::text, agency.ultravox_api_key_encrypted is not null,
        job.status, coalesce(job.completed_at, job.last_activity_at, job.created_at)
    from public.agencies as agency
    left join lateral historical_sync.latest_job(agency.id) as job on true
    order by agency.name::text, agency.id
$$;
