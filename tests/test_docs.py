"""What the documentation takes from the code is there, and true."""

import re
from pathlib import Path

import pytest

from docs.make import COMPOSE_VARIABLES, documents
from service.migrate.tables import TABLES
from service.settings import Settings
from service.version import VERSION
from service.web.errors import ErrorCode
from tests.support.database import Sql
from tests.support.paths import ROOT

DOCUMENTS = documents()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_is_made_from_the_code_has_been_made_since_the_code_changed(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == DOCUMENTS[path], "run make docs"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_a_description(name: str) -> None:
    assert Settings.model_fields[name].description


@pytest.mark.parametrize("column", TABLES["calls"].columns)
def test_every_column_of_the_calls_has_a_description(column: str) -> None:
    assert TABLES["calls"].columns[column].description


@pytest.mark.parametrize("code", list(ErrorCode), ids=lambda code: code.value)
def test_every_error_code_is_explained(code: ErrorCode) -> None:
    assert code.meaning
    assert f" | `{code.value}` | " in (ROOT / "docs/api.md").read_text()


def test_docker_compose_reads_the_variables_that_are_said_to_be_its_own() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    assert all(re.search(rf"\b{variable.name}\b", compose) for variable in COMPOSE_VARIABLES)


def test_the_changelog_begins_with_what_is_not_released_and_then_has_this_version() -> None:
    headings = re.findall(r"^## \[(.+?)\](.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == ("Unreleased", "")
    assert headings[1][0] == VERSION
    assert all(re.fullmatch(r" - \d{4}-\d\d-\d\d", date) for _, date in headings[1:])


@pytest.mark.parametrize("query", re.findall(r"```sql\n(.+?)```", (ROOT / "docs/data.md").read_text(), re.DOTALL))
def test_the_queries_shown_run(sql: Sql, agency_id: object, query: str) -> None:
    assert sql.execute(query.replace(":'agency_id'", "%s"), [agency_id]).fetchall() == []
