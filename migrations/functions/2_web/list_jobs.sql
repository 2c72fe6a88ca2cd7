-- Newest first, older than p_before where it is given: keyset pages.
create or replace function historical_sync.list_jobs(p_agency_id uuid, p_before uuid, p_limit integer)
returns setof historical_sync.job
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select *
    from historical_sync.job
    where agency_id = p_agency_id
        and (
            p_before is null
            or (created_at, id) < (
                select created_at, id from public.historical_sync_jobs where id = p_before and agency_id = p_agency_id
            )
        )
    order by created_at desc, id desc
    limit p_limit
$$;
