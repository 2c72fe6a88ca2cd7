"""Writes what the documentation takes from the code. Run by `make docs`; a test fails where it has not been run.

Between two markers of a page stands a table made here; .env.example and openapi.json are made as a whole.
"""

import json
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import PydanticUndefined

from service.migrate.tables import TABLES
from service.settings import Settings
from service.web.errors import ErrorCode
from service.web.openapi import build_document
from service.web.operations import OPERATIONS, PREFIX, Operation

ROOT = Path(__file__).parent.parent
ENV_HEAD = """\
# Everything that is read from the environment; `make docs` makes this file. The values shown are the defaults, and what
# has none is empty. The web service needs DATABASE_URL and at least one of SUPABASE_URL and SUPABASE_JWT_SECRET, the
# processor and the other commands PROCESSOR_DATABASE_URL.
"""
ENV_OF_COMPOSE = "# docker compose only:\n"
# docker compose has others of its own for these, and would take ours from .env.
COMMENTED_OUT = ("HOST", "PORT")


class Variable(NamedTuple):
    name: str
    default: str
    meaning: str


# What docker-compose.yml reads beside the settings.
COMPOSE_VARIABLES = (
    Variable(
        "APP_ENV",
        "development",
        "development generates the secrets that are missing; production refuses to start without them",
    ),
    Variable("POSTGRES_PASSWORD", "", "Password of the owner of the stack's own Postgres"),
    Variable("OWNER_DATABASE_URL", "", "Postgres connection URL of the owner, who migrates"),
    Variable(
        "TRUSTED_PROXY", "", "Address or network of a TLS terminator in front of nginx: it tells the clients apart"
    ),
    Variable("IMAGE_TAG", "", "Tag of the image that is built and run; latest if empty"),
)


def documents() -> dict[Path, str]:
    """Return what each file has to hold."""
    tables = {
        "api.md": {
            "routes": routes(),
            "parameters": parameters(),
            "errors": errors(),
            "job": schema_fields("Job"),
        },
        "configuration.md": {
            "settings": table(("variable", "default", "meaning"), map(_setting_row, settings())),
            "compose": table(("variable", "default", "meaning"), map(_setting_row, COMPOSE_VARIABLES)),
        },
        "data.md": {"calls": columns_of("calls")},
    }
    pages = {ROOT / "docs" / name: fill(ROOT / "docs" / name, made) for name, made in tables.items()}
    openapi = json.dumps(build_document(), indent=2, ensure_ascii=False) + "\n"
    return {**pages, ROOT / "docs/openapi.json": openapi, ROOT / ".env.example": env_example()}


def fill(page: Path, tables: dict[str, str]) -> str:
    """Return a page with each table between its markers. Raises ValueError for a page without them."""
    text = page.read_text(encoding="utf-8")
    for name, made in tables.items():
        begin, end = f"<!-- {name}: made by make docs -->\n", f"<!-- {name} ends -->"
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            raise ValueError(f"{page.name} has no markers of {name}")
        text = before + begin + made + end + after
    return text


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(re.sub("  +", " ", f"| {' | '.join(cells)} |") + "\n" for cells in lines)


def routes() -> str:
    return table(("route", "takes", "answers", "does"), map(_route_row, OPERATIONS))


def _route_row(operation: Operation) -> tuple[str, ...]:
    takes = [f"`{name}`" for name in operation.query.model_fields]
    if operation.body:
        takes.append(f"`{{{', '.join(operation.body.model_fields)}}}`")
    answers = [_keys(answer) for answer in operation.answers]
    name = operation.path.removeprefix(f"{PREFIX}/")
    return f"`{operation.method.upper()} {name}`", ", ".join(takes), " or ".join(answers), operation.summary


def _keys(answer: Any) -> str:
    fields = getattr(answer, "__dataclass_fields__", None)
    if fields is None:
        return "text" if answer is str else "OpenAPI 3.1"
    return f"`{{{', '.join(fields)}}}`"


def parameters() -> str:
    """Return what can be sent: the fields of bodies and the parameters of queries."""
    rows = []
    for operation in OPERATIONS:
        for schema in filter(None, (operation.query, operation.body)):
            for name, field in schema.model_fields.items():
                default = "required" if field.is_required() else "" if field.default is None else f"`{field.default}`"
                rows.append((f"`{operation.path.rpartition('/')[2]}`", f"`{name}`", default, field.description or ""))
    return table(("function", "field", "default", "meaning"), rows)


def errors() -> str:
    rows = ((", ".join(map(str, code.statuses)), f"`{code.value}`", code.meaning) for code in ErrorCode)
    return table(("status", "code", "means"), rows)


def schema_fields(name: str) -> str:
    properties = build_document()["components"]["schemas"][name]["properties"]
    rows = ((f"`{field}`", _type(schema), schema.get("description", "")) for field, schema in properties.items())
    return table(("field", "type", "meaning"), rows)


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    names: list[str] = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    formats = {"date-time": "time", "uuid": "UUID"}
    return " or ".join(formats.get(schema.get("format", ""), name) if name == "string" else name for name in names)


def columns_of(name: str) -> str:
    columns = TABLES[name].columns.items()
    rows = ((f"`{column}`", said.types[0], said.description) for column, said in columns)
    return table(("column", "type", "meaning"), rows)


def settings() -> list[Variable]:
    fields = Settings.model_fields.items()
    return [Variable(name.upper(), _shown(field.get_default()), field.description or "") for name, field in fields]


def _shown(default: Any) -> str:
    if default in (None, (), PydanticUndefined):
        return ""
    if isinstance(default, tuple):
        return ",".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def _setting_row(variable: Variable) -> tuple[str, ...]:
    return f"`{variable.name}`", f"`{variable.default}`" if variable.default else "", variable.meaning


def env_example() -> str:
    ours, of_compose = map(_env_lines, settings()), map(_env_lines, COMPOSE_VARIABLES)
    return "\n".join([ENV_HEAD, *ours, ENV_OF_COMPOSE, *of_compose])


def _env_lines(variable: Variable) -> str:
    comment = textwrap.fill(
        f"{variable.meaning}.",
        width=118,
        initial_indent="# ",
        subsequent_indent="# ",
        break_on_hyphens=False,
        break_long_words=False,
    )
    mark = "# " if variable.name in COMMENTED_OUT else ""
    return f"{comment}\n{mark}{variable.name}={variable.default}\n"


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
