"""The folder in which gunicorn's workers keep their counts for /metrics, made and removed by their master.

A master that is killed leaves it behind. So whoever starts holds a lock on the folder of its own, which ends with the
last of its processes however that comes about, and removes the folders on which nobody holds one any more.
"""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

# Not that of release 0.1, which holds no lock on its own.
PREFIX = "historical-sync-counts-"


def make_and_hold(folder: Path) -> None:
    """Make a folder, unless it is there, that is not taken for an abandoned one while this process or a fork lives."""
    if folder.is_dir():
        _lock(folder, fcntl.LOCK_SH)
        return
    # It has its name once it is held, or another process that starts could remove it in between.
    draft = Path(tempfile.mkdtemp(prefix="historical-sync-", dir=folder.parent))
    _lock(draft, fcntl.LOCK_SH)
    draft.rename(folder)


def remove_abandoned() -> None:
    """Remove the folders that killed masters have left in the temporary directory."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # held, or somebody else's
            lock = _lock(folder, fcntl.LOCK_EX)
            shutil.rmtree(folder)
            os.close(lock)


def _lock(folder: Path, kind: int) -> int:
    """Return a descriptor that has to stay open. Raises OSError where another lock is in the way."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
