-- The name under which a unique violation is told: ours for every index of historical_sync_jobs that allows an agency
-- one active job, since an original table can have one of its own; any other as it is.
create or replace function historical_sync.told_constraint(p_name text)
returns text
language sql
stable
set search_path = ''
as $$
    select case
        when exists (
            select
            from pg_catalog.pg_index as i
            join pg_catalog.pg_class as c on c.oid = i.indexrelid
            join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            where i.indrelid = 'public.historical_sync_jobs'::regclass
                and c.relname = p_name
                and i.indisunique and i.indnkeyatts = 1 and i.indpred is not null and a.attname = 'agency_id'
        )
        then 'historical_sync_jobs_one_active_per_agency'
        else p_name
    end
$$;

-- A database that brings its own create_historical_sync_job() keeps it: an overload would make its callers'
-- named arguments ambiguous.
do $do$
begin
    if not exists (
        select from pg_catalog.pg_proc
        where proname = 'create_historical_sync_job' and pronamespace = 'public'::regnamespace
    ) then
        create function public.create_historical_sync_job(
            p_agency_id uuid,
            p_date_from timestamptz,
            p_date_to timestamptz
        ) returns uuid
        language plpgsql
        security definer
        set search_path = ''
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
    end if;
end
$do$;

-- What the web service calls: create_historical_sync_job() with the rights of the owner, for an older one may be
-- security invoker, and with the user who asked. Every index for the one active job fails under our name.
create or replace function historical_sync.create_job(
    p_agency_id uuid,
    p_requested_by uuid,
    p_date_from timestamptz,
    p_date_to timestamptz
)
returns uuid
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_job_id uuid;
    v_message text;
    v_constraint text;
begin
    v_job_id := public.create_historical_sync_job(
        p_agency_id => p_agency_id, p_date_from => p_date_from, p_date_to => coalesce(p_date_to, now())
    );
    update public.historical_sync_jobs set requested_by = p_requested_by where id = v_job_id;
    return v_job_id;
exception when unique_violation then
    get stacked diagnostics v_message = message_text, v_constraint = constraint_name;
    raise unique_violation using message = v_message, constraint = historical_sync.told_constraint(v_constraint);
end
$$;

-- Why a token that is validly signed must not be accepted any more; null where nothing speaks against it. As
-- getUser() of Supabase Auth decides. The tables are looked for at every call: a database may have no such schema.
create or replace function historical_sync.token_revocation(p_user_id uuid, p_session_id uuid)
returns text
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
    v_user record;
begin
    if to_regclass('auth.users') is null then
        return null;
    end if;

    select banned_until, deleted_at into v_user from auth.users where id = p_user_id;
    if not found then
        return 'user_not_found';
    elsif v_user.deleted_at is not null then
        return 'user_deleted';
    elsif v_user.banned_until > now() then
        return 'user_banned';
    elsif p_session_id is not null
        and to_regclass('auth.sessions') is not null
        and not exists (select from auth.sessions where id = p_session_id and user_id = p_user_id)
    then
        return 'session_not_found';
    end if;
    return null;
end
$$;

-- A job as the HTTP API shows it. eta counts this attempt only, and does not move between two pages, so that an ETag
-- holds.
create or replace view historical_sync.job as
select
    id,
    agency_id,
    status::text as status,
    date_from,
    date_to,
    total_calls,
    processed_calls,
    imported_calls,
    skipped_calls,
    failed_calls,
    case
        when status = 'completed' then 100
        when total_calls > 0 then least(100, round(100.0 * processed_calls / total_calls))::integer
    end as progress_percent,
    case
        when status = 'in_progress'
            and processed_calls > attempt_processed_calls
            and total_calls >= processed_calls
            -- An estimate beyond a century is none.
            and extract(epoch from last_activity_at - attempt_started_at)::float8
                * ((total_calls - processed_calls)::float8 / (processed_calls - attempt_processed_calls))
                < 100 * 365.25 * 86400
        then
            last_activity_at + (last_activity_at - attempt_started_at)
                * ((total_calls - processed_calls)::float8 / (processed_calls - attempt_processed_calls))
    end as eta,
    requested_by,
    created_at,
    started_at,
    last_activity_at,
    completed_at,
    attempt,
    next_attempt_at,
    error_message
from public.historical_sync_jobs;

create or replace function historical_sync.active_job(p_agency_id uuid)
returns setof historical_sync.job
language sql
stable
security definer
set search_path = ''
as $$
    select *
    from historical_sync.job
    where agency_id = p_agency_id and status in ('pending', 'in_progress')
$$;
