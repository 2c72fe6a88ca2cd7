"""Secrets that a local stack makes up once and keeps."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from uuid import uuid4

from service.local.kept_secrets import kept_secret


def test_a_secret_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    first = kept_secret(folder, "key", lambda: "first")
    assert (first, kept_secret(folder, "key", lambda: "second")) == ("first", "first")
    assert (folder / "key").stat().st_mode & 0o777 == 0o400


def test_all_that_ask_at_once_get_the_same_secret_and_no_draft_stays(tmp_path: Path) -> None:
    everybody_has_made_one = Barrier(8)

    def make() -> str:
        everybody_has_made_one.wait(10)
        return uuid4().hex

    with ThreadPoolExecutor(8) as pool:
        secrets = list(pool.map(lambda _: kept_secret(tmp_path, "key", make), range(8)))
    assert len(set(secrets)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
