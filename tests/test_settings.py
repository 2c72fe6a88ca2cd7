import json
import re
from base64 import urlsafe_b64encode

import pytest
from pydantic_core import PydanticUndefined

from docs.make import COMPOSE_VARIABLES
from service.settings import ProcessorSettings, ServiceSettings, Settings, SettingsError, load_settings
from tests.support.paths import ROOT

SECRET = "s3cret-" * 8
VALID = {"DATABASE_URL": "postgresql://service:pa55word@db/app", "SUPABASE_JWT_SECRET": SECRET}


def encoded(claims: dict[str, str]) -> str:
    return urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in VALID.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_a_database_and_a_key_source_are_enough() -> None:
    settings = load_settings()

    assert settings.service_url().get_secret_value() == VALID["DATABASE_URL"]
    assert settings.database_pool_timeout == 2
    assert settings.cors_allowed_origins == ("*",)


def test_either_key_source_will_do(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("SUPABASE_JWT_SECRET")
    environment.setenv("SUPABASE_URL", "https://project.supabase.co/")
    assert load_settings().supabase_url == "https://project.supabase.co"


def test_an_empty_value_is_the_same_as_none(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SUPABASE_URL", "")
    environment.setenv("LOG_LEVEL", "")
    assert load_settings().supabase_url is None


def test_secrets_do_not_show() -> None:
    shown = f"{load_settings()!r} {load_settings()} {load_settings().model_dump()}"
    assert "pa55word" not in shown
    assert SECRET not in shown


def test_every_fault_is_reported_at_once_and_no_value(environment: pytest.MonkeyPatch) -> None:
    faults = {
        "DATABASE_URL": "mysql://user:hunter2@db",
        "DATABASE_POOL_SIZE": "hunter3",
        "DATABASE_POOL_TIMEOUT": "-4",
        "SUPABASE_URL": "ftp://hunter5",
        "SUPABASE_JWT_SECRET": "hunter6",
        "CORS_ALLOWED_ORIGINS": "https://*.hunter7.example",
        "LOG_LEVEL": "hunter8",
        "CREDENTIALS_KEY": "hunter9",
        "PROCESSOR_DATABASE_URL": "postgresql://hunter10@db:99999/app",
        "WEB_WORKERS": "0",
        "SYNC_PAGE": "hunter12",
        "SUPABASE_PUBLISHABLE_KEY": "sb_secret_hunter13",
        "HOST": "hunter11/24",
        "PORT": "65536",
        "ULTRAVOX_API_URL": "https://x:port",
    }
    for name, value in faults.items():
        environment.setenv(name, value)

    with pytest.raises(SettingsError) as raised:
        load_settings()

    assert sorted(re.findall(r"^  (\w+)", str(raised.value), re.MULTILINE)) == sorted(faults)
    assert "hunter" not in str(raised.value)
    for fault in raised.value.faults:
        assert re.match(r"[A-Z_]+ (is|should be) ", fault)
        assert not re.search(r"unable|pattern|[Ii]nput|Value", fault)


def test_what_is_missing_is_named(environment: pytest.MonkeyPatch) -> None:
    for name in VALID:
        environment.delenv(name)

    with pytest.raises(SettingsError) as raised:
        load_settings()

    for name in ("DATABASE_URL", "SUPABASE_JWT_SECRET", "SUPABASE_URL"):
        assert name in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        (ServiceSettings, ["DATABASE_URL", "SUPABASE_JWT_SECRET"]),
        (ProcessorSettings, ["PROCESSOR_DATABASE_URL"]),
        (Settings, []),
    ],
)
def test_nobody_needs_what_it_does_not_use(
    environment: pytest.MonkeyPatch, kind: type[Settings], missing: list[str]
) -> None:
    for name in VALID:
        environment.delenv(name)
    environment.setenv("PORT", "0")

    with pytest.raises(SettingsError) as raised:
        load_settings(kind)

    assert [fault.split()[0] for fault in raised.value.faults] == [*missing, "PORT"]
    assert "\n" not in raised.value.sentence
    assert all(fault in raised.value.sentence for fault in raised.value.faults)


@pytest.mark.parametrize("name", ["DATABASE_URL", "PROCESSOR_DATABASE_URL"])
def test_either_database_will_do_for_the_processor(environment: pytest.MonkeyPatch, name: str) -> None:
    for each in VALID:
        environment.delenv(each)
    environment.setenv(name, "postgresql://processor@db/app")
    settings = load_settings(ProcessorSettings)
    assert settings.processor_url().get_secret_value() == "postgresql://processor@db/app"


@pytest.mark.parametrize(
    "url",
    ["localhost", "postgresql://user:hun:ter2@db:port/app", "postgresql://db/app?hunter2=1", "postgresql://[hunter2"],
)
def test_a_malformed_database_url_is_not_quoted(environment: pytest.MonkeyPatch, url: str) -> None:
    environment.setenv("DATABASE_URL", url)

    with pytest.raises(SettingsError, match="DATABASE_URL is not a postgresql:// URL") as raised:
        load_settings()

    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(("length", "accepted"), [(31, False), (32, True)])
def test_a_jwt_secret_has_at_least_32_bytes(environment: pytest.MonkeyPatch, length: int, accepted: bool) -> None:
    environment.setenv("SUPABASE_JWT_SECRET", "x" * length)
    if accepted:
        load_settings()
    else:
        with pytest.raises(SettingsError, match="SUPABASE_JWT_SECRET is shorter than 32 bytes"):
            load_settings()


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("*", ("*",)),
        ("https://a.example", ("https://a.example",)),
        (" https://a.example/ , http://localhost:3000,", ("https://a.example", "http://localhost:3000")),
    ],
)
def test_origins_are_a_comma_separated_list(
    environment: pytest.MonkeyPatch, text: str, origins: tuple[str, ...]
) -> None:
    environment.setenv("CORS_ALLOWED_ORIGINS", text)
    assert load_settings().cors_allowed_origins == origins


@pytest.mark.parametrize("text", [",", "a.example", "https://*.example", "https://a.example/path", "https://.*"])
def test_anything_but_exact_origins_is_refused(environment: pytest.MonkeyPatch, text: str) -> None:
    environment.setenv("CORS_ALLOWED_ORIGINS", text)
    with pytest.raises(SettingsError, match="CORS_ALLOWED_ORIGINS"):
        load_settings()


@pytest.mark.parametrize(
    ("key", "accepted"),
    [
        ("sb_publishable_0123", True),
        ("any.thing", True),
        (f"e30.{encoded({'role': 'anon'})}.signed", True),
        (f"e30.{encoded({'role': 'service_role'})}.signed", False),
        ("sb_secret_0123", False),
    ],
)
def test_a_secret_key_is_not_published(environment: pytest.MonkeyPatch, key: str, accepted: bool) -> None:
    environment.setenv("SUPABASE_PUBLISHABLE_KEY", key)
    if accepted:
        assert load_settings().supabase_publishable_key == key
    else:
        with pytest.raises(SettingsError, match="SUPABASE_PUBLISHABLE_KEY is a secret key"):
            load_settings()


def test_every_setting_is_shown_and_none_that_does_not_exist() -> None:
    shown = re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert sorted(shown) == sorted([*map(str.upper, Settings.model_fields), *(each.name for each in COMPOSE_VARIABLES)])


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_values_shown_are_the_defaults(name: str) -> None:
    [shown] = re.findall(rf"^#? ?{name.upper()}=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    default = Settings.model_fields[name].get_default()
    expected = "" if default in (None, (), PydanticUndefined) else default[0] if default == ("*",) else default
    assert shown == str(expected) or float(shown) == expected
