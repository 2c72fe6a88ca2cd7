-- A job as the HTTP API shows it. eta counts this attempt only, and does not move between two pages, so that an ETag
-- holds.
create or replace view historical_sync.job as
select
    id,
    agency_id,
    status::text as status,
    -- A date of an original table can lie beyond what callers can read.
    case when date_from is not null then greatest(date_from, '0001-01-01 00:00:00+00') end as date_from,
    least(greatest(date_to, '0001-01-01 00:00:00+00'), '9999-12-31 23:59:59.999999+00') as date_to,
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
