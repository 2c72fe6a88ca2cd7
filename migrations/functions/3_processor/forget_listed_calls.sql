-- Forgets up to p_limit of the calls that a job has counted, once all its windows are finished and nothing will be
-- listed again; tells whether there are more. Calls that could not be stored are kept: people ask which they were.
create or replace function historical_sync.forget_listed_calls(
    p_job_id uuid,
    p_fencing_token bigint,
    p_limit integer,
    p_lease interval
)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform historical_sync.heartbeat(p_job_id, p_fencing_token, p_lease);
    perform historical_sync.refuse_unfinished_windows(p_job_id);
    perform historical_sync.clear_failures(p_job_id);
    delete from historical_sync.listed_calls
    where job_id = p_job_id
        and call_id in (
            select listed.call_id
            from historical_sync.listed_calls as listed
            where listed.job_id = p_job_id and listed.failure is null
            limit p_limit
        );
    return found;
end
$$;
