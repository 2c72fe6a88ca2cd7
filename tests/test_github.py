"""What GitHub reads is what GitHub knows; nothing here runs it."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.paths import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").iterdir())
SCHEMAS = dict.fromkeys(WORKFLOWS, "vendor.github-workflows") | {ROOT / ".github/dependabot.yml": "vendor.dependabot"}


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_each_file_fits_its_schema(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[path], str(path)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_each_workflow_may_only_read_and_ends(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] for job in workflow["jobs"].values())


def test_dependabot_looks_where_something_is_pinned() -> None:
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    pinned = {
        "pip": "requirements.txt",
        "npm": "package-lock.json",
        "github-actions": ".github/workflows",
        "docker": "Dockerfile",
        "docker-compose": "docker-compose.yml",
    }
    assert {update["package-ecosystem"] for update in updates} == pinned.keys()
    for update in updates:
        assert (ROOT / update["directory"].lstrip("/") / pinned[update["package-ecosystem"]]).exists()
