"""Secrets that are made up once for a local stack and stay the same at its next start."""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def kept_secret(folder: Path, name: str, make: Callable[[], str]) -> str:
    """Return the secret in the file `name` of a folder; where there is none, the one that `make` makes up is kept.

    Of several processes that ask at once, all get the same. Only its owner can read the file.
    """
    path = folder / name
    if not path.exists():
        folder.mkdir(exist_ok=True)
        _write_unless_there(path, make())
    return path.read_text()


def _write_unless_there(path: Path, text: str) -> None:
    descriptor, draft = tempfile.mkstemp(prefix=".", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        Path(draft).chmod(0o400)
        # The file is complete or not there at all, and the first who comes decides what is in it.
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        Path(draft).unlink()
