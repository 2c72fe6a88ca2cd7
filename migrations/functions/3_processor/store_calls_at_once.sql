-- Stores what a job has been given: inserts and updates calls of its range, newest knowledge first, and counts each
-- once. Raises an exception where one of them cannot be stored.
-- The plan is made while the tables may be small, and kept while they grow: none is ever to be read as a whole.
create or replace function historical_sync.store_calls_at_once(
    p_job public.historical_sync_jobs, p_window_id bigint, p_calls text[], p_fetched_at timestamptz
)
returns table (imported integer, skipped integer, failed_call_ids text[], cleared integer)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    v_kept_out bigint;
begin
    perform set_config('search_path', historical_sync.path_for_triggers(), true);
    with listed as materialized (
        -- Of several with one id, one that can be stored.
        select distinct on (ultravox_call_id) * from historical_sync.read_calls(p_calls)
        -- The API's bounds are both inclusive and ours half-open, and not every API keeps to its bounds.
        where created_at is null or (created_at < p_job.date_to and created_at >= coalesce(p_job.date_from, '-infinity'))
        order by ultravox_call_id, failure is not null, number
    ),
    stored as (
        insert into public.calls as known (
            agency_id, ultravox_call_id, source, agent_id, created_at, joined_at, ended_at, end_reason,
            billing_status, billed_seconds, medium, short_summary, summary, metadata, data, fetched_at
        )
        select p_job.agency_id, ultravox_call_id, 'historical_sync', agent_id, created_at, joined_at, ended_at, end_reason,
            billing_status, billed_seconds, medium, short_summary, summary, metadata, data, p_fetched_at
        from listed where failure is null
        -- One order for everybody: two that store the same calls wait for each other instead of deadlocking.
        order by ultravox_call_id
        on conflict (agency_id, ultravox_call_id) do update
        set (source, agent_id, created_at, joined_at, ended_at, end_reason, billing_status, billed_seconds, medium) = (
                excluded.source, excluded.agent_id, excluded.created_at, excluded.joined_at, excluded.ended_at,
                excluded.end_reason, excluded.billing_status, excluded.billed_seconds, excluded.medium
            ),
            (short_summary, summary, metadata, data, fetched_at, updated_at)
                = (excluded.short_summary, excluded.summary, excluded.metadata, excluded.data, excluded.fetched_at, now())
        where (known.data, known.created_at) is distinct from (excluded.data, excluded.created_at)
            and (known.fetched_at > excluded.fetched_at) is not true
        returning known.ultravox_call_id
    ),
    counted as (
        select note.* from (select array_agg(listed_id) as ids, array_agg(failure) as failures from listed) as page
        cross join historical_sync.note_listed_calls(p_job.id, p_window_id, ids, failures) as note
    )
    select count(stored.ultravox_call_id), count(known.is_there),
        coalesce(array_agg(listed_id) filter (where failure is not null), '{}'),
        count(*) filter (where counted.cleared),
        count(*) filter (where failure is null and stored.ultravox_call_id is null and known.is_there is null)
    into imported, skipped, failed_call_ids, cleared, v_kept_out
    from listed join counted on call_id = listed_id left join stored using (ultravox_call_id)
    left join lateral (
        -- With a limit each is looked up by itself. A join could read all calls of the agency.
        select true as is_there from public.calls
        where failure is null and stored.ultravox_call_id is null
            and agency_id = p_job.agency_id and ultravox_call_id = listed.ultravox_call_id limit 1
    ) as known on true;
    perform historical_sync.refuse_kept_out(v_kept_out);
    return next;
end
$$;
