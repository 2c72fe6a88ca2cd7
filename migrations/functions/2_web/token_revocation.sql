-- Why a token that is validly signed must not be accepted any more; null where nothing speaks against it. As
-- getUser() of Supabase Auth decides. The tables are looked for at every call: a database may have no such schema.
create or replace function historical_sync.token_revocation(p_user_id uuid, p_session_id uuid)
returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user record;
begin
    if to_regclass('auth.users') is null then
        return null;
    end if;

    select banned_until, deleted_at into v_user from auth.users where id = p_user_id;
    if not found then
        return 'user_not_found';
    elsif v_user.deleted_at is not null then
        return 'user_deleted';
    elsif v_user.banned_until > now() then
        return 'user_banned';
    elsif p_session_id is not null
        and to_regclass('auth.sessions') is not null
        and not exists (select from auth.sessions where id = p_session_id and user_id = p_user_id)
    then
        return 'session_not_found';
    end if;
    return null;
end
$$;
