-- Every instant between these two is the same in Postgres, in the service and in ISO 8601; infinity and years BC are not.
do $$
begin
    if not exists (
        select from pg_catalog.pg_constraint
        where conrelid = 'public.historical_sync_jobs'::regclass and conname = 'sync_jobs_dates_representable'
    ) then
        alter table public.historical_sync_jobs add constraint sync_jobs_dates_representable check (
            date_from between '0001-01-01 00:00:00+00' and '9999-12-31 23:59:59.999999+00'
            and date_to between '0001-01-01 00:00:00+00' and '9999-12-31 23:59:59.999999+00'
        ) not valid;
    end if;
end
$$;

-- A row that was there before a check can break it, and then every update of it fails, its claim for one. Such a job is
-- ended here, while its checks are away. Finished jobs are left alone: nobody has to update them.
do $$
declare
    v_drop text;
    v_add text;
    v_broken text;
    v_reasons text;
    v_name text;
begin
    select
        string_agg('drop constraint ' || conname, ', '),
        string_agg('add constraint ' || conname || ' check (' || condition || ') not valid', ', '),
        string_agg('not (' || condition || ')', ' or '),
        string_agg('when not (' || condition || ') then ' || quote_literal(reason), ' ')
    into v_drop, v_add, v_broken, v_reasons
    from (
        select conname, reason, pg_get_expr(conbin, conrelid) as condition
        from (
            values
                ('sync_jobs_dates_representable', 'its dates are not within the years 1 to 9999'),
                ('sync_jobs_date_range', 'its date_from is not before its date_to'),
                ('sync_jobs_counts_positive', 'one of its counts is negative'),
                ('sync_jobs_attempt_counted', 'its state contradicts itself'),
                ('sync_jobs_lease_only_in_progress', 'its state contradicts itself'),
                ('sync_jobs_next_attempt_only_pending', 'its state contradicts itself'),
                ('sync_jobs_completed_at_only_finished', 'its state contradicts itself')
        ) as ours (name, reason)
        join pg_catalog.pg_constraint on conname = name and conrelid = 'public.historical_sync_jobs'::regclass
    ) as checks;

    execute 'alter table public.historical_sync_jobs ' || v_drop;
    execute 'update public.historical_sync_jobs
        set status = ''failed'', completed_at = now(), lease_expires_at = null, next_attempt_at = null,
            last_error_at = now(),
            error_message = ''This job cannot be worked on: '' || case ' || v_reasons || ' end || ''. Start a new one.''
        where status in (''pending'', ''in_progress'') and (' || v_broken || ')';
    execute 'alter table public.historical_sync_jobs ' || v_add;

    -- Each for itself: one that rows still break keeps none of the others from being valid.
    for v_name in
        select conname from pg_catalog.pg_constraint
        where conrelid = 'public.historical_sync_jobs'::regclass and contype = 'c' and not convalidated
            and starts_with(conname, 'sync_jobs_')
    loop
        begin
            execute 'alter table public.historical_sync_jobs validate constraint ' || v_name;
        exception when check_violation then
            null;
        end;
    end loop;
end
$$;
