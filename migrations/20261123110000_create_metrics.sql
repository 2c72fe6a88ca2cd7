-- Requests to the Ultravox API by status, over all processors on all machines; 0 is for no answer at all.
create table if not exists historical_sync.ultravox_requests (
    status integer primary key,
    requests bigint not null
);

alter table historical_sync.ultravox_requests enable row level security;
