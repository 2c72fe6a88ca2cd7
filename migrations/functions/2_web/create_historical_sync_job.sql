-- A database that brings its own create_historical_sync_job() keeps it: an overload would make its callers'
-- named arguments ambiguous. Ours is told by its comment.
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
        v_message text;
        v_constraint text;
    begin
        insert into public.historical_sync_jobs (agency_id, date_from, date_to)
        values (p_agency_id, p_date_from, coalesce(p_date_to, now()))
        returning id into v_job_id;
        return v_job_id;
    exception when unique_violation then
        get stacked diagnostics v_message = message_text, v_constraint = constraint_name;
        v_constraint := historical_sync.told_constraint(v_constraint);
        raise unique_violation using
            message = case v_constraint
                when 'historical_sync_jobs_one_active_per_agency'
                then 'a historical sync job already exists for agency ' || p_agency_id
                else v_message
            end,
            constraint = v_constraint;
    end
    $function$;

    comment on function public.create_historical_sync_job is
        'Creates a pending job for [p_date_from, p_date_to). Fails with 23505 where the agency has an active one.';
end
$do$;
