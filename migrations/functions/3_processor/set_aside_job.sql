-- Fails a job whose row nothing can be done with. A row that cannot even be failed is left as it is, for its owner.
create or replace function historical_sync.set_aside_job(p_job_id uuid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    update public.historical_sync_jobs
    set status = 'failed', completed_at = now(), lease_expires_at = null, next_attempt_at = null, last_error_at = now(),
        error_message = 'This job cannot be worked on: its dates or counts are impossible. Start a new one.'
    where id = p_job_id;
exception when others then
    if not historical_sync.blames_row(sqlstate) then
        raise;
    end if;
    raise warning 'historical sync job % cannot be failed either: %', p_job_id, sqlerrm;
end
$$;
