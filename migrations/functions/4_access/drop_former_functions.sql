-- What only the former texts of other functions called. This file goes in the next release.
drop function if exists historical_sync.store_calls(uuid, jsonb, text, timestamptz);
drop function if exists historical_sync.instant(text);
drop function if exists historical_sync.told_constraint(text);
drop function if exists historical_sync.lease_job(uuid, interval);
drop function if exists historical_sync.calls_as_rows(text[]);
drop function if exists historical_sync.plan_windows(uuid);
drop function if exists historical_sync.cut_window(uuid, bigint, bigint);
drop function if exists historical_sync.forget_listed_calls(uuid, bigint, integer, interval);
drop function if exists historical_sync.store_calls(public.historical_sync_jobs, text[], timestamptz);
drop function if exists historical_sync.store_calls_at_once(public.historical_sync_jobs, text[], timestamptz);
drop function if exists historical_sync.store_calls_singly(public.historical_sync_jobs, text[], timestamptz);
drop function if exists historical_sync.note_failed_call(uuid, text, text);
drop function if exists historical_sync.commit_page(uuid, bigint, bigint, interval, text[], text, integer, interval);
drop function if exists historical_sync.store_calls(public.historical_sync_jobs, bigint, text[], timestamptz);
-- Starts are found by polling. The processors of release 0.1 poll as well, beside listening.
drop function if exists historical_sync.notify_pending() cascade;
