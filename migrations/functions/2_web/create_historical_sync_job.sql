-- A database that brings its own create_historical_sync_job() keeps it: an overload would make its callers'
-- named arguments ambiguous. Ours is told by its comment. What every start must obey goes into create_job().
do $do$
begin
    if exists (
        select
        from pg_catalog.pg_proc
        where proname = 'create_historical_sync_job' and pronamespace = 'public'::regnamespace
            and coalesce(obj_description(oid, 'pg_proc'), '') not like 'Creates a pending job for [p\_date\_from, p\_date\_to).%'
    ) then
        return;
    end if;

    create or replace function public.create_historical_sync_job(
        p_agency_id uuid,
        p_date_from timestamptz,
        p_date_to timestamptz
    ) returns uuid
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $function$
    declare
        v_job_id uuid;
    begin
        perform set_config('search_path', historical_sync.path_for_triggers(), true);
        insert into public.historical_sync_jobs (agency_id, date_from, date_to)
        values (p_agency_id, p_date_from, coalesce(p_date_to, now()))
        -- The index decides. Catching its error instead would cost every start a subtransaction.
        on conflict (agency_id) where status in ('pending', 'in_progress') do nothing
        returning id into v_job_id;
        if v_job_id is null then
            raise unique_violation using
                message = 'a historical sync job already exists for agency ' || p_agency_id,
                schema = 'public',
                table = 'historical_sync_jobs',
                constraint = 'historical_sync_jobs_one_active_per_agency';
        end if;
        return v_job_id;
    end
    $function$;

    comment on function public.create_historical_sync_job is
        'Creates a pending job for [p_date_from, p_date_to). Fails with 23505 where the agency has an active one.';
end
$do$;
