from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from click.testing import Result
from cryptography.fernet import Fernet

from service.local.standin import Fault, Faults, StandinServer
from service.migrate import migrate, preflight
from tests.support.catalog import connect
from tests.support.commands import Operator
from tests.support.database import Sql, add_agency, login_url
from tests.support.processing import CREDENTIALS_KEY, agency_with_key
from tests.support.tokens import SECRET, JwksServer

AWAY = "postgresql://hunter1:hunter2@127.0.0.1:1/none"


@pytest.fixture
def doctor(operator: Operator, database_url: str) -> Callable[..., Result]:
    """Run it in an environment for everything, with changes."""

    def run(*options: object, **changes: str | None) -> Result:
        everything: dict[str, Any] = {
            "DATABASE_URL": login_url(database_url, "historical_sync_service"),
            "SUPABASE_JWT_SECRET": SECRET,
        }
        return operator.run("doctor", *options, **everything | changes)

    return run


def failures(examined: Result) -> list[str]:
    """What is wrong; the exit status has to say whether anything is."""
    lines = examined.stdout.splitlines()
    assert all(line.startswith(("ok    ", "FAIL  ")) for line in lines)
    failed = [line.removeprefix("FAIL  ") for line in lines if line.startswith("FAIL")]
    assert examined.exit_code == (1 if failed else 0)
    return failed


def test_where_all_is_well_it_says_what_it_has_looked_at(
    doctor: Callable[..., Result], sql: Sql, jwks_server: JwksServer
) -> None:
    agency_id = agency_with_key(sql, "its-own-key")
    add_agency(sql)
    with StandinServer({"its-own-key": []}) as api:
        examined = doctor("--agency", agency_id, SUPABASE_URL=jwks_server.url, ULTRAVOX_API_URL=api.url)
    name = sql.info.dbname
    assert examined.exit_code == 0
    assert examined.stdout.splitlines() == [
        f"ok    DATABASE_URL reaches the database {name} as historical_sync_service",
        "ok    DATABASE_URL names a role that may do what historical_sync_service may",
        "ok    DATABASE_URL names a database that has the migrations of this release",
        "ok    SUPABASE_URL publishes 3 signing keys",
        "ok    SUPABASE_JWT_SECRET verifies HS256 tokens",
        f"ok    PROCESSOR_DATABASE_URL reaches the database {name} as historical_sync_processor",
        "ok    PROCESSOR_DATABASE_URL names a role that may do what historical_sync_processor may",
        "ok    PROCESSOR_DATABASE_URL names a database that has the migrations of this release",
        "ok    1 of 2 agencies have a key of their own; ULTRAVOX_API_KEY, for others, is not set",
        f"ok    Ultravox accepts the key of agency {agency_id}",
    ]


@pytest.mark.parametrize(
    "absent",
    [["DATABASE_URL", "SUPABASE_JWT_SECRET"], ["PROCESSOR_DATABASE_URL"]],
    ids=["no web service", "no processor"],
)
def test_what_is_not_configured_is_not_missed(doctor: Callable[..., Result], absent: list[str]) -> None:
    examined = doctor(**dict.fromkeys(absent))
    assert failures(examined) == []
    assert f"ok    {absent[0]} is not set" in examined.stdout


def test_one_url_of_somebody_who_may_do_everything_will_do(doctor: Callable[..., Result], database_url: str) -> None:
    examined = doctor(DATABASE_URL=database_url, PROCESSOR_DATABASE_URL=None)
    assert failures(examined) == []
    assert "may do what historical_sync_processor may" in examined.stdout


def test_an_environment_for_nothing_fails(doctor: Callable[..., Result]) -> None:
    [failed] = failures(doctor(DATABASE_URL=None, PROCESSOR_DATABASE_URL=None))
    assert failed == "DATABASE_URL is not set, nor is PROCESSOR_DATABASE_URL: nothing can run here"


def test_every_fault_of_the_environment_has_its_line(doctor: Callable[..., Result]) -> None:
    examined = doctor(CREDENTIALS_KEY="hunter2", SUPABASE_JWT_SECRET="hunter2", PORT="0")
    assert [line.split()[0] for line in failures(examined)] == ["SUPABASE_JWT_SECRET", "CREDENTIALS_KEY", "PORT"]
    assert "hunter2" not in examined.output


def test_roles_that_are_mixed_up_are_told_with_their_variables(
    doctor: Callable[..., Result], database_url: str
) -> None:
    service, processor = (login_url(database_url, f"historical_sync_{name}") for name in ("service", "processor"))
    failed = failures(doctor(DATABASE_URL=processor, PROCESSOR_DATABASE_URL=service))
    assert failed == [
        "DATABASE_URL names a role that may not do what the web service does:"
        " it must be the URL of historical_sync_service, or of a role that is a member of it",
        "PROCESSOR_DATABASE_URL names a role that may not do what the processor does:"
        " it must be the URL of historical_sync_processor, or of a role that is a member of it",
    ]


def test_a_right_that_was_taken_away_is_missed(
    doctor: Callable[..., Result], operator: Operator, own_database_url: str
) -> None:
    urls = {
        "DATABASE_URL": login_url(own_database_url, "historical_sync_service"),
        "PROCESSOR_DATABASE_URL": login_url(own_database_url, "historical_sync_processor"),
    }
    assert failures(doctor(**urls)) == []
    with connect(own_database_url) as conn:
        conn.execute("revoke select (agency_id) on public.users from historical_sync_service")
        conn.execute("revoke usage on schema historical_sync from historical_sync_processor")
    [service, processor] = failures(doctor(**urls))
    assert service.startswith("DATABASE_URL names a role that may not")
    assert processor.startswith("PROCESSOR_DATABASE_URL names a role that may not")
    migrate(own_database_url)
    assert failures(doctor(**urls)) == []


def test_a_database_that_is_away_is_told_without_its_password(doctor: Callable[..., Result]) -> None:
    examined = doctor(DATABASE_URL=AWAY, PROCESSOR_DATABASE_URL=AWAY)
    [service, processor] = failures(examined)
    assert service.startswith("DATABASE_URL names a server that cannot be reached")
    assert processor.startswith("PROCESSOR_DATABASE_URL names a server that cannot be reached")
    assert "hunter2" not in examined.output


def test_a_database_that_nothing_can_run_on_is_told_before_anybody_migrates_it(
    doctor: Callable[..., Result], create_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = {"DATABASE_URL": None, "SUPABASE_JWT_SECRET": None}
    latin = create_database("template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'")
    [failed] = failures(doctor(**absent, PROCESSOR_DATABASE_URL=latin))
    assert "is encoded in LATIN1" in failed
    assert failed.endswith("and name it in PROCESSOR_DATABASE_URL")
    monkeypatch.setattr(preflight, "MINIMUM_VERSION", 1_000_000)
    [failed] = failures(doctor(**absent))
    assert "and must be 100 or later: upgrade it, or name another one in PROCESSOR_DATABASE_URL" in failed


def test_a_standby_is_told(doctor: Callable[..., Result], database_url: str) -> None:
    url = login_url(database_url, "historical_sync_service")
    url += f"{'&' if '?' in url else '?'}options=-c%20default_transaction_read_only%3Don"
    [failed] = failures(doctor(DATABASE_URL=url))
    assert failed == "the database is read-only, as a standby is: name the primary server in DATABASE_URL"


def test_migrations_of_another_release_are_told_and_those_that_never_were(
    doctor: Callable[..., Result], own_database_url: str, create_database: Callable[..., str]
) -> None:
    absent = {"DATABASE_URL": None, "SUPABASE_JWT_SECRET": None}
    with connect(own_database_url) as conn:
        conn.execute("comment on schema historical_sync is 'of another release'")
    [failed] = failures(
        doctor(**absent, PROCESSOR_DATABASE_URL=login_url(own_database_url, "historical_sync_processor"))
    )
    assert "other migrations than this release's: run `make migrate`" in failed
    [failed] = failures(doctor(**absent, PROCESSOR_DATABASE_URL=create_database()))
    assert "is not migrated: run `make migrate`" in failed


class TestKeySource:
    def test_one_is_needed_beside_the_web_services_database(self, doctor: Callable[..., Result]) -> None:
        [failed] = failures(doctor(SUPABASE_JWT_SECRET=None))
        assert failed.startswith("SUPABASE_URL is not set, nor is SUPABASE_JWT_SECRET")

    def test_one_that_is_away_is_told(self, doctor: Callable[..., Result]) -> None:
        [failed] = failures(doctor(SUPABASE_URL="http://127.0.0.1:1"))
        assert failed.startswith("the signing keys at SUPABASE_URL cannot be fetched, for it refuses connections")

    def test_an_address_of_something_else_is_told(self, doctor: Callable[..., Result]) -> None:
        with StandinServer({}) as other:
            [failed] = failures(doctor(SUPABASE_URL=other.url))
        assert failed.startswith("SUPABASE_URL answers without a set of signing keys")

    @pytest.mark.parametrize(("secret", "faults"), [(SECRET, 0), (None, 1)])
    def test_a_project_without_signing_keys_needs_the_secret(
        self, doctor: Callable[..., Result], secret: str | None, faults: int
    ) -> None:
        with JwksServer() as server:
            server.keys = []
            assert len(failures(doctor(SUPABASE_URL=server.url, SUPABASE_JWT_SECRET=secret))) == faults


class TestKeys:
    def test_those_that_cannot_be_read_are_named(self, doctor: Callable[..., Result], sql: Sql) -> None:
        readable, lost = agency_with_key(sql, "key"), add_agency(sql)
        ciphertext = Fernet(Fernet.generate_key()).encrypt(b"lost")
        sql.execute("update public.agencies set ultravox_api_key_encrypted = %s where id = %s", [ciphertext, lost])
        [failed] = failures(doctor())
        assert failed.startswith("CREDENTIALS_KEY cannot read the keys of some agencies")
        assert str(lost) in failed
        assert str(readable) not in failed
        of_all, of_one = failures(doctor("--agency", readable, CREDENTIALS_KEY=None))
        assert str(readable) in of_all
        assert of_one.startswith(f"the key of agency {readable}, cannot be read: store one")

    @pytest.mark.parametrize(
        ("faults", "told"),
        [
            (Faults(auth_status=401), "Ultravox refuses ULTRAVOX_API_KEY, which agency"),
            (Faults(queue=[Fault(status=503)]), "is not known: Ultravox answered with an error (503)"),
        ],
        ids=["refused", "away"],
    )
    def test_ultravox_is_asked_about_the_key_that_a_processor_would_use(
        self, doctor: Callable[..., Result], sql: Sql, faults: Faults, told: str
    ) -> None:
        agency_id = add_agency(sql)
        with StandinServer({"another": []}, faults=faults) as api:
            environment = {"ULTRAVOX_API_URL": api.url, "ULTRAVOX_API_KEY": "common"}
            [failed] = failures(doctor("--agency", agency_id, **environment))
            assert told in failed
            assert f"agency {agency_id}" in failed
            accepted = doctor("--agency", agency_id, **{**environment, "ULTRAVOX_API_KEY": "another"})
            assert failures(accepted) == []

    def test_an_agency_without_a_key_and_one_that_there_is_not_are_told(
        self, doctor: Callable[..., Result], sql: Sql
    ) -> None:
        [keyless] = failures(doctor("--agency", add_agency(sql)))
        assert "is not set: store one for this agency with set-ultravox-key" in keyless
        [unknown] = failures(doctor("--agency", uuid4()))
        assert "there is no agency" in unknown

    def test_without_a_url_for_the_commands_an_agency_cannot_be_looked_at(
        self, doctor: Callable[..., Result], sql: Sql
    ) -> None:
        [failed] = failures(doctor("--agency", add_agency(sql), PROCESSOR_DATABASE_URL=None))
        assert "set PROCESSOR_DATABASE_URL" in failed


def test_a_rotated_key_is_readable_with_the_new_one_alone(
    doctor: Callable[..., Result], operator: Operator, sql: Sql
) -> None:
    agency_with_key(sql, "key")
    newer = Fernet.generate_key().decode()
    assert operator.run("rotate-ultravox-keys", CREDENTIALS_KEY=f"{newer},{CREDENTIALS_KEY}").exit_code == 0
    assert failures(doctor(CREDENTIALS_KEY=newer)) == []
