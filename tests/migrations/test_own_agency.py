"""On Supabase, signed-in users read the calls and jobs of their own agency, and do nothing else: by row-level security.

The owner who migrates is no superuser and may not bypass it.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest
from psycopg import errors

from service.migrate import migrate
from service.migrate.preflight import ROLES
from service.settings import Settings
from tests.support.catalog import Facts, connect, facts
from tests.support.cluster import Cluster
from tests.support.database import ROLE_PASSWORD, Sql, add_agency, add_user, login_url
from tests.support.importing import calls, importing
from tests.support.projects import AGENCY, API, API_PRIVILEGES, OLD_FUNCTION, ORIGINAL, SUPABASE
from tests.support.released import load_released

TABLES = ["calls", "historical_sync_jobs"]
# Reading users as one of them would end in an infinite recursion.
POLICY_OF_USERS = """
    drop policy own on public.users;
    create policy team on public.users for select to authenticated
        using (agency_id = (select agency_id from public.users as me where me.id = auth.uid()));
"""
OWN_CALLS = """
    create table public.calls (id serial primary key, agency_id uuid references public.agencies);
    alter table public.calls enable row level security;
    create policy theirs on public.calls for select to anon using (true);
"""
SEEN = "select ultravox_call_id as seen from public.calls union all select max_calls::text from historical_sync_jobs"


class Supabase:
    """A server with the roles of Supabase's API, and an owner of databases as its `postgres` is, but for bypassrls."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._owner = cluster.owner("createrole")

    def project(self, before: str = "") -> str:
        """Create a database that is not migrated and return its owner's URL."""
        url = self._cluster.database(self._owner)
        self._cluster.execute(API, url)
        with connect(url) as conn:
            conn.execute(API_PRIVILEGES + SUPABASE + POLICY_OF_USERS + before)
        return url

    def execute(self, statement: str, url: str) -> None:
        self._cluster.execute(statement, url)


@pytest.fixture(scope="module")
def supabase(server: str) -> Iterator[Supabase]:
    cluster = Cluster(server)
    yield Supabase(cluster)
    cluster.clear()


@pytest.fixture(scope="module")
def migrated(supabase: Supabase) -> str:
    url = supabase.project()
    migrate(url)
    for role in ROLES:
        supabase.execute(f"alter role {role} login password '{ROLE_PASSWORD}'", url)
    return url


@pytest.fixture
def owner(migrated: str) -> Iterator[Sql]:
    with connect(migrated) as conn:
        conn.execute("delete from public.users; delete from public.agencies")
        yield conn


def add_rows(sql: Sql, agency_id: UUID, number: int) -> None:
    """Put a call and a job that are known by their number."""
    sql.execute(
        "insert into public.calls (agency_id, ultravox_call_id, source, created_at, data)"
        " values (%s, %s, 'historical_sync', now(), '{}')",
        [agency_id, str(number)],
    )
    sql.execute(
        "insert into public.historical_sync_jobs (agency_id, date_to, max_calls) values (%s, now(), %s)",
        [agency_id, number],
    )


@contextmanager
def api(url: str, role: str, user_id: UUID | None = None) -> Iterator[Sql]:
    """A session as Supabase's API has it for a request."""
    with connect(login_url(url, "authenticator")) as conn:
        claims = {"role": role, "sub": str(user_id)} if user_id else {"role": role}
        conn.execute("select set_config('request.jwt.claims', %s, false)", [json.dumps(claims)])
        conn.execute(f"set role {role}")
        yield conn


def seen(conn: Sql) -> list[str]:
    return sorted(row["seen"] for row in conn.execute(SEEN))


def test_users_see_the_calls_and_jobs_of_their_own_agency(owner: Sql, migrated: str) -> None:
    users = {}
    for number in (1, 2):
        agency_id = add_agency(owner)
        users[number] = add_user(owner, agency_id)
        add_rows(owner, agency_id, number)
    for number, user_id in users.items():
        with api(migrated, "authenticated", user_id) as conn:
            assert seen(conn) == [str(number)] * 2


@pytest.mark.parametrize("who", ["without an agency", "without a row", "without a sub"])
def test_who_has_no_agency_sees_nothing(owner: Sql, migrated: str, who: str) -> None:
    add_rows(owner, add_agency(owner), 1)
    user_id = {"without an agency": add_user(owner, None), "without a row": uuid4(), "without a sub": None}[who]
    with api(migrated, "authenticated", user_id) as conn:
        assert seen(conn) == []


@pytest.mark.parametrize("table", TABLES)
def test_who_is_not_signed_in_is_refused(owner: Sql, migrated: str, table: str) -> None:
    user_id = add_user(owner, add_agency(owner))
    with api(migrated, "anon", user_id) as conn, pytest.raises(errors.InsufficientPrivilege):
        conn.execute(f"select from public.{table}")


@pytest.mark.parametrize(
    "statement",
    ["insert into {} (agency_id) values (null)", "update {} set agency_id = null", "delete from {}", "truncate {}"],
)
@pytest.mark.parametrize("role", ["authenticated", "anon"])
@pytest.mark.parametrize("table", TABLES)
def test_nobody_writes(owner: Sql, migrated: str, table: str, role: str, statement: str) -> None:
    user_id = add_user(owner, add_agency(owner))
    with api(migrated, role, user_id) as conn, pytest.raises(errors.InsufficientPrivilege):
        conn.execute(statement.format(f"public.{table}"))


def grants(known: Facts, of: str) -> set[str]:
    """What the roles of Supabase's API may do with it, but for service_role, and everybody."""
    kept = {fact for kind, thing, fact in known if kind == "grant" and thing.startswith(of)}
    return {fact for fact in kept if fact.split()[0] in ("-", "anon", "authenticated")}


def policies(known: Facts) -> set[str]:
    tables = tuple(f"public.{table}." for table in TABLES)
    return {thing for kind, thing, _ in known if kind == "policy" and thing.startswith(tables)}


OURS = {f"public.{table}.historical_sync_own_agency" for table in TABLES}


def test_users_have_no_other_right(owner: Sql) -> None:
    known = facts(owner)
    for table in TABLES:
        assert grants(known, f"public.{table}") == {"authenticated SELECT f"}
    assert grants(known, "public.create_historical_sync_job") == set()
    assert grants(known, "historical_sync") == {"authenticated EXECUTE f"}
    assert grants(known, "historical_sync.own_agency_id") == {"authenticated EXECUTE f"}


def test_users_can_call_nothing_by_name(owner: Sql, migrated: str) -> None:
    user_id = add_user(owner, add_agency(owner))
    refused = pytest.raises(errors.InsufficientPrivilege, match="schema historical_sync")
    with api(migrated, "authenticated", user_id) as conn, refused:
        conn.execute("select historical_sync.own_agency_id()")


def test_a_restrictive_policy_of_the_projects_own_lets_users_see_less(owner: Sql, supabase: Supabase) -> None:
    url = supabase.project()
    migrate(url)
    with connect(url) as conn:
        conn.execute("create policy viewers on public.calls as restrictive for select to authenticated using (false)")
        migrate(url)
        add_rows(conn, UUID(AGENCY), 1)
        user_id = add_user(conn, UUID(AGENCY))
        with api(url, "authenticated", user_id) as user:
            assert user.execute("select from public.calls").rowcount == 0
            assert user.execute("select from public.historical_sync_jobs").rowcount == 1


def test_the_service_role_sees_and_writes_everything(owner: Sql, migrated: str) -> None:
    for number in (1, 2):
        add_rows(owner, add_agency(owner), number)
    with api(migrated, "service_role") as conn:
        assert seen(conn) == ["1", "1", "2", "2"]
        for table in TABLES:
            assert conn.execute(f"update public.{table} set agency_id = agency_id").rowcount == 2
            assert conn.execute(f"delete from public.{table}").rowcount == 2


def test_the_service_and_the_processor_work_as_before(
    owner: Sql, migrated: str, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(processor_database_url=login_url(migrated, "historical_sync_processor"))
    agency_id = add_agency(owner)
    with importing(owner, agency_id, settings) as job:
        job.put(*calls(5))
        job.run()
        assert job.counts() == (5, 5, 0, 0)
        with connect(login_url(migrated, "historical_sync_service")) as conn:
            found = conn.execute("select processed_calls from historical_sync.find_job(%s)", [job.job_id]).fetchall()
            assert found == [{"processed_calls": 5}]
    with api(migrated, "authenticated", add_user(owner, agency_id)) as conn:
        assert len(conn.execute("select * from public.calls").fetchall()) == 5
        assert [row["processed_calls"] for row in conn.execute("select * from public.historical_sync_jobs")] == [5]


def plan(conn: Sql, query: str) -> str:
    return "\n".join(row["QUERY PLAN"] for row in conn.execute(f"explain {query}"))


def test_a_page_of_the_newest_calls_is_read_by_the_index_and_the_agency_asked_for_once(
    owner: Sql, migrated: str
) -> None:
    agencies = [add_agency(owner) for _ in range(20)]
    owner.execute(
        """
        insert into public.calls (agency_id, ultravox_call_id, source, created_at, data)
        select agency, number::text, 'historical_sync', now() - number * interval '1 minute', '{}'
        from unnest(%s::uuid[]) as agency cross join generate_series(1, 1000) as number
        """,
        [agencies],
    )
    owner.execute("analyze public.calls")
    with api(migrated, "authenticated", add_user(owner, agencies[7])) as conn:
        page = "select * from public.calls {} order by created_at desc limit 50"
        for condition in ("", "where created_at >= now() - interval '3 hours'"):
            lines = plan(conn, page.format(condition))
            assert "Index Scan using calls_newest_by_agency" in lines
            # A filter would name what is looked at, or called, for each row.
            assert "InitPlan" in lines
            assert not {"Filter", "Sort", "own_agency_id"} & set(re.findall(r"\w+", lines))


@pytest.mark.parametrize("table", TABLES)
def test_a_second_run_changes_nothing_and_waits_for_nobody_who_reads(owner: Sql, migrated: str, table: str) -> None:
    before = facts(owner)
    with connect(migrated) as conn, conn.transaction():
        conn.execute(f"select from public.{table}")
        assert migrate(migrated) == []
    assert facts(owner) == before


def test_a_run_takes_back_what_has_been_granted_since(owner: Sql, migrated: str) -> None:
    before = facts(owner)
    owner.execute(
        "grant insert, select on public.calls to anon; grant update (cursor) on historical_sync_jobs to authenticated;"
        "grant truncate on public.calls to public"
    )
    migrate(migrated)
    assert facts(owner) == before


def on_tables(known: Facts) -> Facts:
    """The policies and grants of the two tables, and whether row-level security is on."""
    return {
        (kind, of, fact)
        for kind, of, fact in known
        if kind in ("policy", "grant", "relation") and of.startswith(tuple(f"public.{table}" for table in TABLES))
    }


def test_tables_that_the_project_had_keep_their_policies_and_grants(supabase: Supabase) -> None:
    url = supabase.project(ORIGINAL + OWN_CALLS)
    with connect(url) as conn:
        before = on_tables(facts(conn))
        for _ in range(2):
            migrate(url)
            assert on_tables(facts(conn)) == before


@pytest.mark.parametrize(("theirs", "created"), [(ORIGINAL, "calls"), (OWN_CALLS, "historical_sync_jobs")])
def test_each_table_is_looked_at_by_itself(supabase: Supabase, theirs: str, created: str) -> None:
    url = supabase.project(theirs)
    migrate(url)
    with connect(url) as conn:
        known = facts(conn)
    assert policies(known) & OURS == {f"public.{created}.historical_sync_own_agency"}
    for table in TABLES:
        assert ("anon SELECT f" in grants(known, f"public.{table}")) == (table != created)


def test_a_table_that_the_project_had_is_not_taken_for_ours_however_like_it_is(supabase: Supabase) -> None:
    ours = supabase.project()
    migrate(ours)
    url = supabase.project(
        ORIGINAL
        + "drop index public.idx_one_active_sync; truncate public.historical_sync_jobs;"
        + "alter table public.historical_sync_jobs enable row level security"
    )
    with connect(ours) as created, connect(url) as conn:
        before = on_tables(facts(conn))
        migrate(url)
        known = facts(conn)
        like = {fact for fact in facts(created) - known if fact[1].startswith("public.historical_sync_jobs")}
    assert {kind for kind, _, _ in like} == {"policy"}, "else it is not like ours"
    assert before <= known
    assert policies(known) == {"public.calls.historical_sync_own_agency"}


def test_a_table_that_has_come_into_the_place_of_ours_is_left_alone(supabase: Supabase) -> None:
    url = supabase.project()
    migrate(url)
    with connect(url) as conn:
        conn.execute("alter table public.calls rename to former_calls; create table public.calls (like former_calls)")
        before = on_tables(facts(conn))
        migrate(url)
        assert on_tables(facts(conn)) == before


def test_each_migration_can_be_repeated_and_what_was_created_stays_so(supabase: Supabase) -> None:
    url = supabase.project()
    migrate(url)
    with connect(url) as conn:
        before = facts(conn)
        conn.execute("delete from historical_sync._yoyo_migrations")
        migrate(url)
        assert conn.execute("select from historical_sync.created_tables").rowcount == 2
        assert facts(conn) == before


@pytest.mark.parametrize(
    "lacking", ["drop function auth.uid()", "drop schema auth cascade", "alter role authenticated rename to members"]
)
def test_a_database_without_supabases_api_is_left_as_it_is(supabase: Supabase, lacking: str) -> None:
    url = supabase.project("drop policy team on public.users;")
    supabase.execute(lacking, url)
    try:
        migrate(url)
        with connect(url) as conn:
            known = facts(conn)
    finally:
        if "rename" in lacking:
            supabase.execute("alter role members rename to authenticated", url)
    assert policies(known) == set()
    assert "anon SELECT f" in grants(known, "public.calls")
    assert grants(known, "historical_sync") == set()


def test_an_owner_who_may_not_use_the_schema_auth_is_told_what_to_do(
    supabase: Supabase, capsys: pytest.CaptureFixture[str]
) -> None:
    url = supabase.project("drop policy team on public.users;")
    supabase.execute("revoke usage on schema auth from public", url)
    migrate(url)
    told = capsys.readouterr().err
    assert told.startswith("warning: owner_")
    supabase.execute(told.split("`")[1], url)
    migrate(url)
    assert capsys.readouterr().err == ""
    with connect(url) as conn:
        assert policies(facts(conn)) == OURS


def upgrade(create_database: Callable[..., str], name: str = "released", then: str = "") -> str:
    """Migrate a database of the released version on Supabase."""
    url = load_released(create_database, name, before=API + API_PRIVILEGES)
    with connect(url) as conn:
        conn.execute(then)
    migrate(url)
    return url


def test_an_upgraded_database_ends_as_a_new_one(create_database: Callable[..., str], template: str) -> None:
    new = create_database()
    with connect(new) as conn:
        conn.execute(API + API_PRIVILEGES)
    migrate(new)
    with (
        connect(upgrade(create_database, then="truncate public.agencies cascade")) as upgraded,
        connect(new) as created,
    ):
        known = facts(upgraded)
        # A dump of the released version had none of Supabase's grants on the other two.
        assert {
            each for each in known ^ facts(created) if not each[1].startswith(("public.agencies", "public.users"))
        } == set()
        assert policies(known) == OURS


def test_an_upgraded_project_keeps_its_own_table_of_jobs(create_database: Callable[..., str], template: str) -> None:
    with connect(upgrade(create_database, "released_project")) as conn:
        assert policies(facts(conn)) == {"public.calls.historical_sync_own_agency"}


DOUBTS = {
    "calls": [
        "create policy own on public.calls for select using (true)",
        "alter table public.calls disable row level security",
        "alter table public.calls drop column billing_status",
        "alter table public.calls alter column created_at drop not null",
        "create index on public.calls (source)",
        "alter table public.calls add check (medium <> '')",
    ],
    "historical_sync_jobs": [
        "create policy own on public.historical_sync_jobs for select using (true)",
        "create index mine on public.historical_sync_jobs (status)",
        "create trigger mine before update on public.historical_sync_jobs"
        " for each row execute function suppress_redundant_updates_trigger()",
        "update public.historical_sync_jobs set created_at = '2026-11-01'",
        "drop function public.create_historical_sync_job;" + OLD_FUNCTION,
    ],
}


@pytest.mark.parametrize(("table", "doubt"), [(table, doubt) for table, doubts in DOUBTS.items() for doubt in doubts])
def test_a_table_of_which_an_upgrade_cannot_be_sure_counts_as_the_projects_own(
    create_database: Callable[..., str], template: str, table: str, doubt: str
) -> None:
    with connect(upgrade(create_database, then=doubt)) as conn:
        assert policies(facts(conn)) & OURS == OURS - {f"public.{table}.historical_sync_own_agency"}


def test_who_would_rather_have_policies_of_their_own_takes_the_mark_away(supabase: Supabase) -> None:
    url = supabase.project()
    migrate(url)
    with connect(url) as conn:
        conn.execute(
            "delete from historical_sync.created_tables where name = 'public.calls'::regclass;"
            "drop policy historical_sync_own_agency on public.calls; grant insert on public.calls to authenticated"
        )
        before = on_tables(facts(conn))
        migrate(url)
        assert on_tables(facts(conn)) == before


def test_who_knows_better_marks_a_table_as_created(create_database: Callable[..., str], template: str) -> None:
    url = upgrade(create_database, then="create index on public.calls (source)")
    with connect(url) as conn:
        conn.execute("insert into historical_sync.created_tables values ('public.calls')")
        migrate(url)
        assert policies(facts(conn)) == OURS
