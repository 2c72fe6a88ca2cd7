from uuid import UUID

import pytest
from cryptography.fernet import Fernet

from service.database import Conn
from service.jobs import keys
from service.jobs.keys import StoredKey
from service.local.standin import Fault, Faults, StandinServer
from tests.support.commands import Operator
from tests.support.database import Sql, add_agency
from tests.support.processing import CREDENTIALS_KEY, agency_with_key, set_key

NEWER = Fernet.generate_key().decode()


def stored(sql: Sql, agency_id: UUID, credentials_key: str = CREDENTIALS_KEY) -> str | None:
    """The API key of an agency, decrypted with this key alone."""
    query = "select ultravox_api_key_encrypted as ciphertext from public.agencies where id = %s"
    [row] = sql.execute(query, [agency_id]).fetchall()
    return row["ciphertext"] and Fernet(credentials_key).decrypt(row["ciphertext"]).decode()


class TestSet:
    def test_a_key_that_ultravox_accepts_is_stored(self, operator: Operator, sql: Sql) -> None:
        agency_id = add_agency(sql)
        with StandinServer({"its-own-key": []}) as api:
            done = operator.run("set-ultravox-key", agency_id, stdin="its-own-key\n", ULTRAVOX_API_URL=api.url)
        assert (done.exit_code, done.stderr) == (0, "")
        assert f"stored the key of agency {agency_id}: Ultravox accepts it" in done.stdout
        assert stored(sql, agency_id) == "its-own-key"

    @pytest.mark.parametrize("refusal", [401, 403])
    def test_a_key_that_ultravox_refuses_is_not(self, operator: Operator, sql: Sql, refusal: int) -> None:
        agency_id = agency_with_key(sql, "former")
        faults = Faults(auth_status=401 if refusal == 401 else 403)
        with StandinServer({"another": []}, faults=faults) as api:
            refused = operator.run("set-ultravox-key", agency_id, stdin="misspelt", ULTRAVOX_API_URL=api.url)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert f"Ultravox refuses this key ({refusal}), and nothing was stored" in refused.stderr
        assert stored(sql, agency_id) == "former"

    def test_where_ultravox_is_away_it_is_stored_with_a_warning(self, operator: Operator, sql: Sql) -> None:
        agency_id = add_agency(sql)
        done = operator.run("set-ultravox-key", agency_id, stdin="key")
        assert done.exit_code == 0
        assert "warning: whether Ultravox accepts the key is not known: Ultravox gave no usable answer" in done.stderr
        assert stored(sql, agency_id) == "key"

    def test_an_answer_about_something_else_is_no_refusal(self, operator: Operator, sql: Sql) -> None:
        agency_id = add_agency(sql)
        faults = Faults(queue=[Fault(status=503)])
        with StandinServer({"key": []}, faults=faults) as api:
            done = operator.run("set-ultravox-key", agency_id, stdin="key", ULTRAVOX_API_URL=api.url)
        assert done.exit_code == 0
        assert "warning" in done.stderr
        assert "503" in done.stderr
        assert stored(sql, agency_id) == "key"

    def test_no_check_asks_nobody(self, operator: Operator, sql: Sql) -> None:
        agency_id = add_agency(sql)
        with StandinServer({"another": []}) as api:
            done = operator.run("set-ultravox-key", agency_id, "--no-check", stdin="key", ULTRAVOX_API_URL=api.url)
            assert api.stats.requests == 0
        assert (done.exit_code, done.stderr) == (0, "")
        assert stored(sql, agency_id) == "key"


class TestRotate:
    def test_every_stored_key_is_encrypted_with_the_newest(self, operator: Operator, sql: Sql) -> None:
        agencies = {agency_with_key(sql, name): name for name in ("one", "two")}
        keyless = add_agency(sql)
        done = operator.run("rotate-ultravox-keys", CREDENTIALS_KEY=f"{NEWER},{CREDENTIALS_KEY}")
        assert (done.exit_code, done.stderr) == (0, "")
        assert "encrypted 2 stored keys" in done.stdout
        assert {agency_id: stored(sql, agency_id, NEWER) for agency_id in agencies} == agencies
        assert stored(sql, keyless) is None

    def test_those_that_cannot_be_read_are_named_and_stay(self, operator: Operator, sql: Sql) -> None:
        readable, lost = agency_with_key(sql, "readable"), add_agency(sql)
        ciphertext = Fernet(Fernet.generate_key()).encrypt(b"lost")
        sql.execute("update public.agencies set ultravox_api_key_encrypted = %s where id = %s", [ciphertext, lost])
        done = operator.run("rotate-ultravox-keys", CREDENTIALS_KEY=f"{NEWER},{CREDENTIALS_KEY}")
        assert done.exit_code == 1
        assert "encrypted 1 stored keys" in done.stdout
        assert str(lost) in done.stderr
        assert str(readable) not in done.stderr
        assert stored(sql, readable, NEWER) == "readable"
        query = "select ultravox_api_key_encrypted as ciphertext from public.agencies where id = %s"
        assert sql.execute(query, [lost]).fetchall() == [{"ciphertext": ciphertext}]

    def test_a_key_that_is_set_meanwhile_stays_and_is_encrypted_too(
        self, operator: Operator, sql: Sql, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        agency_id = agency_with_key(sql, "former")
        replace = keys.replace_ultravox_key
        outcomes: list[bool] = []

        def set_meanwhile(conn: Conn, read: StoredKey, ciphertext: bytes) -> bool:
            if not outcomes:
                set_key(sql, agency_id, "latter")  # with the former CREDENTIALS_KEY
            outcomes.append(replace(conn, read, ciphertext))
            return outcomes[-1]

        monkeypatch.setattr(keys, "replace_ultravox_key", set_meanwhile)
        done = operator.run("rotate-ultravox-keys", CREDENTIALS_KEY=f"{NEWER},{CREDENTIALS_KEY}")
        assert outcomes == [False, True]
        assert "encrypted 1 stored keys" in done.stdout
        assert stored(sql, agency_id, NEWER) == "latter"

    def test_without_a_credentials_key_nothing_is_touched(self, operator: Operator, sql: Sql) -> None:
        agency_id = agency_with_key(sql, "key")
        refused = operator.run("rotate-ultravox-keys", CREDENTIALS_KEY=None)
        assert refused.exit_code == 1
        assert "CREDENTIALS_KEY is not set" in refused.stderr
        assert stored(sql, agency_id) == "key"
