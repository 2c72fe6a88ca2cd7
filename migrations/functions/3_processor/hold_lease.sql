-- Locks the job for the rest of the transaction; not against rows that refer to it, such as other windows are adding.
create or replace function historical_sync.hold_lease(p_job_id uuid, p_fencing_token bigint)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform from public.historical_sync_jobs
    where id = p_job_id and fencing_token = p_fencing_token and lease_expires_at > clock_timestamp()
    for no key update;
    if not found then
        raise exception using
            errcode = 'HS001',
            message = 'the lease on this job is over',
            -- What has become of the job, for the one that has lost it.
            detail = coalesce(
                (
                    select json_build_object(
                        'status', status, 'imported', imported_calls, 'skipped', skipped_calls, 'failed', failed_calls
                    )
                    from public.historical_sync_jobs
                    where id = p_job_id
                ),
                '{"status": "deleted", "imported": 0, "skipped": 0, "failed": 0}'
            )::text;
    end if;
end
$$;
