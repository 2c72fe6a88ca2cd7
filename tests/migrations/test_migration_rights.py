"""Who may migrate: the owner of a database need not be a superuser, and two databases may have two owners."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.migrate import MIGRATIONS, MigrationError, migrate, preflight
from service.migrate.preflight import ROLES
from service.settings import Settings
from tests.support.catalog import connect, facts
from tests.support.cluster import Cluster
from tests.support.database import ROLE_PASSWORD, add_agency, login_url
from tests.support.importing import calls, importing
from tests.support.projects import AGENCY, AUTH, SUPABASE
from tests.support.waiting import wait_until


def refusal(url: str) -> str:
    """Migrate, expect one sentence that refuses, and that nothing is changed."""
    with connect(url) as conn:
        before = facts(conn)
        with pytest.raises(MigrationError) as raised:
            migrate(url)
        assert facts(conn) == before
    [line] = str(raised.value).splitlines()
    assert line.startswith("nothing was changed: ")
    return line


def command_of(sentence: str) -> str:
    return sentence.split("`")[1]


def test_an_owner_who_may_create_roles_needs_to_be_no_superuser(cluster: Cluster) -> None:
    assert migrate(cluster.database(cluster.owner("createrole")))
    assert cluster.setting("historical_sync_service") == ["lock_timeout=2500ms", "statement_timeout=5s"]
    assert cluster.setting("historical_sync_processor") == ["lock_timeout=15s", "statement_timeout=30s"]


def test_three_databases_of_a_server_without_our_roles_can_migrate_at_once(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = [cluster.database("postgres") for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        assert all(threads.map(migrate, urls))
    assert capsys.readouterr().err == ""
    assert cluster.setting("historical_sync_service") == ["lock_timeout=2500ms", "statement_timeout=5s"]
    assert cluster.setting("historical_sync_processor") == ["lock_timeout=15s", "statement_timeout=30s"]


def test_two_migrations_that_limit_the_same_role_at_one_moment_both_succeed(cluster: Cluster) -> None:
    cluster.execute("create role historical_sync_service; create role historical_sync_processor")
    cluster.execute("alter role historical_sync_service set statement_timeout = '5s'")
    statement = (MIGRATIONS / "20261124010000_limit_waits_for_locks.sql").read_bytes()
    with connect(cluster.url) as first, connect(cluster.url) as second, ThreadPoolExecutor(1) as threads:
        with first.transaction():
            first.execute(statement)
            running = threads.submit(second.execute, statement)
            waits = "select from pg_stat_activity where pid = %s and wait_event_type = 'Lock'"
            with connect(cluster.url) as observer:
                wait_until(lambda: running.done() or observer.execute(waits, [second.info.backend_pid]).rowcount)
            assert not running.done()
        running.result()
    assert cluster.setting("historical_sync_service") == ["lock_timeout=2500ms", "statement_timeout=5s"]


@pytest.mark.parametrize("attributes", ["", "createrole"])
def test_a_second_owner_migrates_a_second_database_with_the_roles_of_the_first(
    cluster: Cluster, attributes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    migrate(cluster.database(cluster.owner("createrole")))
    assert migrate(cluster.database(cluster.owner(attributes)))
    assert capsys.readouterr().err == ""


def test_where_roles_are_missing_an_owner_who_may_not_create_them_is_told_the_commands(cluster: Cluster) -> None:
    url = cluster.database(cluster.owner())
    commands = "create role historical_sync_service nologin; create role historical_sync_processor nologin;"
    assert f"`{commands}`" in refusal(url)

    cluster.execute(commands)
    assert migrate(url)


def test_an_owner_who_may_not_limit_the_waits_of_a_role_is_told_who_can(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.execute("create role historical_sync_service; create role historical_sync_processor")
    cluster.execute("alter role historical_sync_processor set lock_timeout = '1s'")
    owner = cluster.owner()
    assert migrate(cluster.database(owner))
    assert capsys.readouterr().err == (
        f"warning: {owner} may not limit how long historical_sync_service waits for locks: let who created that role"
        " run `alter role historical_sync_service set lock_timeout = '2500ms'`\n"
    )
    assert cluster.setting("historical_sync_processor") == ["lock_timeout=1s"]


def test_the_service_and_the_processor_work_in_a_database_whose_owner_is_no_superuser(
    cluster: Cluster, make_settings: Callable[..., Settings]
) -> None:
    url = cluster.database(cluster.owner("createrole"))
    migrate(url)
    for role in ROLES:
        cluster.execute(f"alter role {role} login password '{ROLE_PASSWORD}'")
    settings = make_settings(processor_database_url=login_url(url, "historical_sync_processor"))
    with connect(url) as conn, importing(conn, add_agency(conn), settings) as job:
        job.put(*calls(5))
        job.run()
        assert job.counts() == (5, 5, 0, 0)
        with connect(login_url(url, "historical_sync_service")) as service:
            found = service.execute("select processed_calls from historical_sync.find_job(%s)", [job.job_id]).fetchall()
            assert found == [{"processed_calls": 5}]


def test_supabases_owner_who_reads_auth_by_a_grant_and_bypasses_its_policies_can_migrate(cluster: Cluster) -> None:
    owner = cluster.owner("createrole createdb bypassrls")
    url = cluster.database(owner, SUPABASE)
    cluster.execute(
        AUTH + f"grant usage on schema auth to {owner}; grant all on all tables in schema auth to {owner}", url
    )
    migrate(url)
    cluster.execute(f"alter role historical_sync_service login password '{ROLE_PASSWORD}'")

    with connect(login_url(url, "historical_sync_service")) as service:
        user = "00000000-0000-4000-8000-00000000000b"
        callers = service.execute("select * from historical_sync.caller(%s, null)", [user]).fetchall()
    assert [(row["revocation"], str(row["agency_id"])) for row in callers] == [(None, AGENCY)]


@pytest.mark.parametrize(
    "grant", ["", "grant usage on schema auth to {owner}; grant select on all tables in schema auth to {owner}"]
)
def test_an_owner_who_cannot_read_who_is_signed_out_is_refused(cluster: Cluster, grant: str) -> None:
    owner = cluster.owner("createrole")
    url = cluster.database(owner)
    cluster.execute(AUTH + grant.format(owner=owner), url)
    assert f"{owner} cannot read auth.sessions and auth.users" in refusal(url)


def test_tables_of_somebody_else_are_refused_until_their_owner_is_granted(cluster: Cluster) -> None:
    owner, app = cluster.owner("createrole"), cluster.owner()
    url = cluster.database(owner)
    cluster.execute(
        "create table public.agencies (id uuid primary key); create table public.users (id uuid primary key);"
        f"alter table public.agencies owner to {app}; alter table public.users owner to {app}",
        url,
    )
    told = f"{owner} does not own public.agencies, public.users: migrate as {app}, who does, or"
    assert told in refusal(url)

    assert command_of(refusal(url)) == f"grant {app} to {owner}"
    cluster.execute(f"grant {app} to {owner}")
    assert migrate(url)


def test_a_second_migration_by_somebody_else_is_refused(cluster: Cluster) -> None:
    owner, other = cluster.owner("createrole"), cluster.owner()
    url = cluster.database(owner)
    migrate(url)
    cluster.execute(f"grant create on database {url.partition('?')[0].rpartition('/')[2]} to {other}")
    cluster.execute(f"grant create on schema public to {other}", url)
    told = refusal(login_url(url, other))
    assert f"public.users, the schema historical_sync: migrate as {owner}, who does, or" in told


def test_who_may_create_nothing_here_is_told_so(cluster: Cluster) -> None:
    url = cluster.database("postgres")
    other = cluster.owner("createrole")
    with pytest.raises(MigrationError) as raised:
        migrate(login_url(url, other))
    schema, tables = str(raised.value).splitlines()
    assert f"{other} may not create a schema here" in schema
    assert f"{other} may not create tables in public" in tables

    # What it is told to ask for is enough.
    cluster.execute(f"{command_of(schema)}; {command_of(tables)}", url)
    assert migrate(login_url(url, other))


def test_it_is_warned_where_everybody_may_create_objects_in_public_and_of_nothing_that_need_not_be(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    url, other = cluster.database("postgres"), cluster.owner("createrole")
    cluster.execute(
        f"create schema historical_sync authorization {other}; grant create on schema public to {other}", url
    )
    migrate(login_url(url, other))
    assert capsys.readouterr().err == ""

    cluster.execute("grant create on schema public to public", url)
    migrate(login_url(url, other))
    [warning] = capsys.readouterr().err.splitlines()
    assert "`revoke create on schema public from public`" in warning


def test_who_owns_the_schema_needs_no_right_to_create_another(cluster: Cluster) -> None:
    url, other = cluster.database("postgres"), cluster.owner("createrole")
    cluster.execute(
        f"create schema historical_sync authorization {other}; grant create on schema public to {other}", url
    )
    assert migrate(login_url(url, other))


@pytest.mark.parametrize("table", ["agencies", "calls"])
def test_a_table_whose_rows_are_hidden_from_its_owner_is_refused(cluster: Cluster, table: str) -> None:
    url = cluster.database(
        cluster.owner("createrole"),
        f"create table public.{table} (id uuid primary key default gen_random_uuid());"
        f"alter table public.{table} enable row level security; alter table public.{table} force row level security",
    )
    assert command_of(refusal(url)) == f"alter table public.{table} no force row level security"


def test_a_database_that_is_not_utf8_is_refused(create_database: Callable[..., str], postgres_url: str) -> None:
    url = create_database("template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'")
    assert "is encoded in LATIN1" in refusal(url)


def test_a_server_that_is_too_old_is_refused(
    create_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "MINIMUM_VERSION", 1_000_000)
    assert "and must be 100 or later" in refusal(create_database())


def test_a_database_that_is_read_only_is_refused(create_database: Callable[..., str]) -> None:
    url = create_database()
    name = url.partition("?")[0].rpartition("/")[2]
    with connect(url) as conn:
        conn.execute(f"alter database {name} set default_transaction_read_only = on")
    assert "the database is read-only" in refusal(url)
