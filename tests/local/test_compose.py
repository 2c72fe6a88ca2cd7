"""The settings of the compose stack, each for those who use it; its secrets: made up in development, insisted on in
production."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from service.local import compose
from service.settings import Settings
from tests.support.paths import ROOT

NEEDED = ("POSTGRES_PASSWORD", "OWNER_DATABASE_URL", "DATABASE_URL", "PROCESSOR_DATABASE_URL", "CREDENTIALS_KEY")


def see_to_secrets(**environment: str) -> subprocess.CompletedProcess[str]:
    """The command of the compose service `secrets`."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["sh", "deploy/secrets.sh"]
    return subprocess.run(
        command, cwd=ROOT, env={"PATH": path, **environment}, check=False, capture_output=True, text=True
    )


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(compose, "VOLUME", tmp_path)
    for name in ("POSTGRES_PASSWORD", "ULTRAVOX_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def contents(volume: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in volume.iterdir()}


def test_development_secrets_are_made_once(volume: Path) -> None:
    compose.make_secrets()
    made = contents(volume)
    compose.make_secrets()
    assert contents(volume) == made
    assert made.keys() == {*NEEDED, "SUPABASE_JWT_SECRET", "ULTRAVOX_API_KEY", *compose.STANDIN}
    assert conninfo_to_dict(made["OWNER_DATABASE_URL"])["password"] == made["POSTGRES_PASSWORD"]


def test_a_key_of_ones_own_is_not_sent_to_the_stand_in(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compose.make_secrets()
    monkeypatch.setenv("ULTRAVOX_API_KEY", "my own")
    compose.make_secrets()
    assert not contents(volume).keys() & compose.STANDIN.keys()


def test_production_is_told_every_secret_that_is_missing_in_one_line() -> None:
    refused = see_to_secrets(APP_ENV="production", DATABASE_URL="postgresql://x")
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert line.endswith(
        "Set POSTGRES_PASSWORD, OWNER_DATABASE_URL, PROCESSOR_DATABASE_URL, CREDENTIALS_KEY,"
        " SUPABASE_URL or SUPABASE_JWT_SECRET"
    )


def test_production_with_its_secrets_starts() -> None:
    brought = {**dict.fromkeys(NEEDED, "brought"), "SUPABASE_URL": "https://project.example"}
    accepted = see_to_secrets(APP_ENV="production", **brought)
    assert (accepted.returncode, accepted.stderr) == (0, "")


def test_an_environment_that_is_neither_is_refused() -> None:
    refused = see_to_secrets(APP_ENV="prod")
    assert refused.returncode == 1
    assert "must be development or production" in refused.stderr


@pytest.mark.parametrize("command", ["secrets", "demo", "token"])
def test_production_has_no_demo_and_no_generated_secret(command: str) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "service.local.compose", command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "APP_ENV": "production"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 1
    assert "this is for development" in refused.stderr


CONTAINERS = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
WEB, PROCESSOR = "service", "processor"
# What each of the two has to itself, by the beginnings of the names.
OF_ONE = {
    WEB: ("DATABASE_URL", "DATABASE_POOL_SIZE", "SUPABASE_", "CORS_", "SYNC_", "WEB_"),
    PROCESSOR: ("PROCESSOR_", "ULTRAVOX_", "CREDENTIALS_", "LEASE_"),
}


def variables(container: str) -> set[str]:
    return set(CONTAINERS[container]["environment"])


def test_every_setting_reaches_a_container() -> None:
    settings = {name.upper() for name in Settings.model_fields}
    assert settings - variables(WEB) - variables(PROCESSOR) == {"HOST"}  # which the image sets


@pytest.mark.parametrize(("container", "other"), [(WEB, PROCESSOR), ("demo-page", PROCESSOR), (PROCESSOR, WEB)])
def test_a_container_gets_nothing_that_only_another_uses(container: str, other: str) -> None:
    assert [name for name in variables(container) if name.startswith(OF_ONE[other])] == []
    assert [name for name in variables(other) if name.startswith(OF_ONE[other])] != []


@pytest.mark.parametrize("container", [name for name in CONTAINERS if "SECRETS" in CONTAINERS[name]["environment"]])
def test_a_generated_secret_gives_way_to_one_that_is_set(container: str) -> None:
    assert set(CONTAINERS[container]["environment"]["SECRETS"].split()) < variables(container)


def test_an_environment_is_passed_on_with_the_secrets_that_it_names_and_lacks(tmp_path: Path) -> None:
    for name in ("WANTED", "SET", "OTHER"):
        (tmp_path / name).write_text(f"generated {name}")
    script = (ROOT / "deploy/entrypoint.sh").read_text().replace("/run/secrets-volume", str(tmp_path))
    environment = {"PATH": os.environ["PATH"], "SECRETS": "WANTED SET ABSENT", "SET": "my own"}
    passed = subprocess.check_output(["sh", "-c", script, "sh", "env"], env=environment, text=True).splitlines()
    assert {"WANTED=generated WANTED", "SET=my own"} < set(passed)
    assert not [line for line in passed if line.startswith(("OTHER", "ABSENT"))]
