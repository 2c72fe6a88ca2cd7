-- What may only happen once the API has said of each window that nothing more is in it asks here first. A window that
-- pages a short day once more may be given up: its calls have been listed before.
create or replace function historical_sync.refuse_unfinished_windows(p_job_id uuid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from historical_sync.unfinished_windows(p_job_id) where not is_recheck) then
        raise exception 'job % has unfinished windows', p_job_id;
    end if;
end
$$;
