-- What the processors of release 0.1 call, while some of them still run beside an upgraded database: the present
-- functions under the former names and signatures. This file goes in the next release.

create or replace function historical_sync.claim_job(p_lease interval)
returns table (
    job_id uuid,
    agency_id uuid,
    fencing_token bigint,
    page_size integer,
    api_key_encrypted bytea,
    date_from timestamptz,
    date_to timestamptz
)
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    select job_id, agency_id, fencing_token, page_size, api_key_encrypted, date_from, date_to
    from historical_sync.claim_due_job(p_lease)
$$;

-- Those processors would split a window while its cursor runs: they are told that nothing can be split.
create or replace function historical_sync.split_window(p_job_id uuid, p_fencing_token bigint, p_window_id bigint)
returns setof historical_sync.windows
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    select * from historical_sync.windows where false
$$;

create or replace function historical_sync.rewind_window(p_job_id uuid, p_fencing_token bigint, p_window_id bigint)
returns setof historical_sync.windows
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform historical_sync.restart_window(p_job_id, p_fencing_token, p_window_id);
    return query select * from historical_sync.windows where id = p_window_id;
end
$$;

create or replace function historical_sync.store_page(
    p_job_id uuid,
    p_fencing_token bigint,
    p_window_id bigint,
    p_fetched_at timestamptz,
    p_body jsonb,
    p_next text,
    p_total integer,
    p_lease interval
)
returns table (
    finished boolean,
    splittable boolean,
    reached timestamptz,
    imported integer,
    skipped integer,
    failed_call_ids text[],
    processed_calls integer,
    total_calls integer
)
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    select p_next is null, false, null::timestamptz, page.*
    from historical_sync.commit_page(
        p_job_id, p_fencing_token, p_window_id,
        greatest(clock_timestamp() - p_fetched_at, interval '0'),
        (
            select coalesce(array_agg(call::text order by number), '{}')
            from jsonb_array_elements(p_body -> 'results') with ordinality as results (call, number)
        ),
        true, p_next, p_total, p_lease
    ) as page
$$;
