-- The processor may do what its functions do and nothing else; the web service what people may.
do $$
declare
    v_function regprocedure;
    v_name text;
begin
    for v_function, v_name in
        select oid::regprocedure, proname from pg_catalog.pg_proc where pronamespace = 'historical_sync'::regnamespace
    loop
        execute 'revoke execute on function ' || v_function
            || ' from public, historical_sync_service, historical_sync_processor';
        if v_name in (
            'caller', 'token_revocation', 'create_job', 'active_job', 'latest_job', 'find_job', 'list_jobs', 'cancel_job', 'resume_job'
        ) then
            execute 'grant execute on function ' || v_function || ' to historical_sync_service';
        elsif v_name in (
            'claim_job', 'heartbeat', 'unfinished_windows', 'split_window', 'store_page', 'rewind_window',
            'complete_job', 'fail_job', 'reschedule_job', 'release_job', 'set_ultravox_key'
        ) then
            execute 'grant execute on function ' || v_function || ' to historical_sync_processor';
        end if;
    end loop;
end
$$;
