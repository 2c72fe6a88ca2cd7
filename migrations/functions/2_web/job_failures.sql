-- Which calls of a job could not be stored, and why, as [{"call_id", "reason"}, …]: the first hundred.
create or replace function historical_sync.job_failures(p_job_id uuid)
returns jsonb
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(jsonb_agg(jsonb_build_object('call_id', call_id, 'reason', failure) order by call_id), '[]')
    from (
        select call_id, failure
        from historical_sync.listed_calls
        where job_id = p_job_id and failure is not null
        order by call_id
        limit 100
    ) as failed
$$;
