-- A job as the HTTP API shows it. eta counts this attempt only, and does not move between two pages, so that an ETag
-- holds.
create or replace view historical_sync.job as
select
    id,
    agency_id,
    status::text as status,
    shown.date_from,
    shown.date_to,
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
            and total_calls > processed_calls
            -- An estimate beyond a century is none.
            and extract(epoch from shown.last_activity_at - attempt_started_at)::float8
                * ((total_calls - processed_calls)::float8 / (processed_calls - attempt_processed_calls))
                < 100 * 365.25 * 86400
        then
            shown.last_activity_at + (shown.last_activity_at - attempt_started_at)
                * ((total_calls - processed_calls)::float8 / (processed_calls - attempt_processed_calls))
    end as eta,
    requested_by,
    created_at,
    shown.started_at,
    shown.last_activity_at,
    shown.completed_at,
    attempt,
    shown.next_attempt_at,
    error_message,
    case when status = 'completed' then coalesce(verification, 'unverified') end as verification,
    missing_calls
from public.historical_sync_jobs as job
-- An instant of an original table can lie beyond what callers can read.
cross join (
    values ('0001-01-01 00:00:00+00'::timestamptz, '9999-12-31 23:59:59.999999+00'::timestamptz)
) as readable (first, last)
cross join lateral (
    select
        case when job.date_from is not null then least(greatest(job.date_from, first), last) end as date_from,
        case when job.date_to is not null then least(greatest(job.date_to, first), last) end as date_to,
        case when job.started_at is not null then least(greatest(job.started_at, first), last) end as started_at,
        case when job.last_activity_at is not null then least(greatest(job.last_activity_at, first), last) end as last_activity_at,
        case when job.completed_at is not null then least(greatest(job.completed_at, first), last) end as completed_at,
        case when job.next_attempt_at is not null then least(greatest(job.next_attempt_at, first), last) end as next_attempt_at
) as shown;
