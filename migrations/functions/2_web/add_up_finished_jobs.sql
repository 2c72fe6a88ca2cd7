-- Puts one row for each status in the place of the many that count_finished_job() has left. Whoever does the same at the
-- same time finds none.
create or replace function historical_sync.add_up_finished_jobs()
returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    with counted as (
        delete from historical_sync.finished_jobs
        where (select count(*) > 100 from (select from historical_sync.finished_jobs limit 101) as found)
        returning *
    )
    insert into historical_sync.finished_jobs
    select status, sum(jobs), sum(imported_calls), sum(skipped_calls), sum(failed_calls)
    from counted
    group by status
$$;
