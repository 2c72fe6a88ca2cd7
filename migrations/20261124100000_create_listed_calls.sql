-- Which calls a job has been given, so that it counts each of them once, however often the API lists it: after a lost
-- answer, a forgotten cursor or a cut, and on the seam of two windows. Forgotten when the job completes, except for the
-- calls that could not be stored.
create table if not exists historical_sync.listed_calls (
    job_id uuid not null references public.historical_sync_jobs (id) on delete cascade,
    -- As in calls; made up from the text of a call that has no id.
    call_id text not null,
    -- Why it could not be stored, in plain words; null for a call that is stored.
    failure text,
    primary key (job_id, call_id)
);

alter table historical_sync.listed_calls enable row level security;

-- A window is one query of the API, and only the API's word ends it. What the release before kept to end it sooner is
-- no longer looked at.
comment on column historical_sync.windows.position is 'Unused since 1.0; goes with the release after.';
comment on column historical_sync.windows.position_call_ids is 'Unused since 1.0; goes with the release after.';
comment on column historical_sync.windows.unordered is 'Unused since 1.0; goes with the release after.';

-- The release before could take a window for finished that was not. Jobs that are not completed begin anew when they are
-- claimed; the calls that they have brought stay.
delete from historical_sync.windows
where job_id in (select id from public.historical_sync_jobs where status <> 'completed');
