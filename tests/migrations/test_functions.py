"""The files of migrations/functions: small, and each with a word on why it is there."""

import re
from pathlib import Path

import pytest

from service.migrate import FUNCTIONS

FILES = sorted(FUNCTIONS.glob("*/*.sql"))
MOST_LINES = 60
# A function, or a block that is executed once, from its head to the quote that ends its body.
DEFINITION = re.compile(r"^ *(?:create or replace function|do \$).*?^ *(?:end *)?\$\w*\$;$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_function_is_longer_than_sixty_lines(path: Path) -> None:
    text = path.read_text()
    definitions = DEFINITION.findall(text)
    assert bool(definitions) == ("create or replace function" in text or "do $" in text)
    for definition in definitions:
        assert len(definition.splitlines()) <= MOST_LINES, definition.splitlines()[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_says_first_why_it_is_there(path: Path) -> None:
    assert path.read_text().startswith("-- ")
