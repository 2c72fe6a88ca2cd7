-- What the web service calls: create_historical_sync_job() with the rights of the owner, for an older one may be
-- security invoker, and with the user who asked.
create or replace function historical_sync.create_job(
    p_agency_id uuid,
    p_requested_by uuid,
    p_date_from timestamptz,
    p_date_to timestamptz
)
returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_job_id uuid;
begin
    -- It also serves an older function that names its tables without a schema and sets no path of its own.
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    v_job_id := public.create_historical_sync_job(
        p_agency_id => p_agency_id, p_date_from => p_date_from, p_date_to => coalesce(p_date_to, now())
    );
    update public.historical_sync_jobs set requested_by = p_requested_by where id = v_job_id;
    return v_job_id;
end
$$;
