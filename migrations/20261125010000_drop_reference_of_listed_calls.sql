-- The reference to the job was looked up for each call, under a lock that every window of the job shared on the one row that
-- all of them update: a tenth of what storing a page costs. The trigger of 3_processor/forget_deleted_jobs.sql does its part.
alter table historical_sync.listed_calls drop constraint if exists listed_calls_job_id_fkey;
