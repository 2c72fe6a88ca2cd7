-- What the people of an agency do with its jobs. Each names the agency of the caller, and tells the job of another
-- agency apart from one that does not exist.

-- Who asks: why the token must not be accepted, or the user's agency, null where there is none. Reads public.users
-- with the rights of the web service.
create or replace function historical_sync.caller(p_user_id uuid, p_session_id uuid)
returns table (revocation text, agency_id uuid)
language sql
stable
set search_path = ''
as $$
    select revocation, users.agency_id
    from historical_sync.token_revocation(p_user_id, p_session_id) as revocation
    left join public.users on users.id = p_user_id and revocation is null
$$;

create or replace function historical_sync.latest_job(p_agency_id uuid)
returns setof historical_sync.job
language sql
stable
security definer
set search_path = ''
as $$
    -- The active one first: there is one at most.
    select *
    from historical_sync.job
    where agency_id = p_agency_id
    order by status in ('pending', 'in_progress') desc, created_at desc, id desc
    limit 1
$$;

create or replace function historical_sync.find_job(p_job_id uuid)
returns setof historical_sync.job
language sql
stable
security definer
set search_path = ''
as $$
    select * from historical_sync.job where id = p_job_id
$$;

-- Newest first, older than p_before where it is given: keyset pages.
create or replace function historical_sync.list_jobs(p_agency_id uuid, p_before uuid, p_limit integer)
returns setof historical_sync.job
language sql
stable
security definer
set search_path = ''
as $$
    select *
    from historical_sync.job
    where agency_id = p_agency_id
        and (
            p_before is null
            or (created_at, id) < (
                select created_at, id from public.historical_sync_jobs where id = p_before and agency_id = p_agency_id
            )
        )
    order by created_at desc, id desc
    limit p_limit
$$;

-- At once, in progress too: the lease ends with it, so nothing is written after. Changes a job of the agency that is
-- active and no other; the answer is the job as it is now, and whether this call has changed it.
create or replace function historical_sync.cancel_job(p_agency_id uuid, p_job_id uuid)
returns table (agency_id uuid, status text, changed boolean)
language plpgsql
security definer
set search_path = ''
as $$
begin
    return query
        update public.historical_sync_jobs as job
        set status = 'cancelled', completed_at = now(), lease_expires_at = null, next_attempt_at = null
        where job.id = p_job_id and job.agency_id = p_agency_id and job.status in ('pending', 'in_progress')
        returning job.agency_id, job.status::text, true;
    if not found then
        -- A statement of its own sees what the update has waited for.
        return query
            select job.agency_id, job.status::text, false
            from public.historical_sync_jobs as job
            where job.id = p_job_id;
    end if;
end
$$;

-- Goes on from the checkpoints of the job's windows. Fails with 23505 where another job is active.
create or replace function historical_sync.resume_job(p_agency_id uuid, p_job_id uuid)
returns table (agency_id uuid, status text, changed boolean)
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_message text;
    v_constraint text;
begin
    return query
        update public.historical_sync_jobs as job
        set status = 'pending', completed_at = null, error_message = null, consecutive_failures = 0
        where job.id = p_job_id and job.agency_id = p_agency_id and job.status in ('failed', 'cancelled')
        returning job.agency_id, job.status::text, true;
    if not found then
        return query
            select job.agency_id, job.status::text, false
            from public.historical_sync_jobs as job
            where job.id = p_job_id;
    end if;
exception when unique_violation then
    get stacked diagnostics v_message = message_text, v_constraint = constraint_name;
    raise unique_violation using message = v_message, constraint = historical_sync.told_constraint(v_constraint);
end
$$;
