-- What only the former texts of other functions called. This file goes in the next release.
drop function if exists historical_sync.store_calls(uuid, jsonb, text, timestamptz);
drop function if exists historical_sync.instant(text);
drop function if exists historical_sync.told_constraint(text);
drop function if exists historical_sync.lease_job(uuid, interval);
drop function if exists historical_sync.calls_as_rows(text[]);
