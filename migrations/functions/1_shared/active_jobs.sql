-- The jobs that are in the way of another one of their agency. The condition is that of the index
-- historical_sync_jobs_one_active_per_agency, and stands nowhere else.
create or replace view historical_sync.active_jobs as
select * from public.historical_sync_jobs where status in ('pending', 'in_progress');
