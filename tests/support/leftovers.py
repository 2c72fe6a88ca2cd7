"""What a run of the tests would leave behind on the machine: everything that it starts knows the run's own folder."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

# Where the embedded Postgres keeps its lock and its sockets; it goes with the run's folder.
RUNTIME = f"historical-sync-{os.geteuid()}"
# Several Postgres make and remove thousands of files, which costs less in memory; where there is room for all of them.
MEMORY = Path("/dev/shm")
ROOM = 4 * 1024**3


@contextmanager
def own_temporary_folder() -> Iterator[Path]:
    """Have this process and those that it starts put their temporary files where no other run of the tests does."""
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    # A short name: sockets live below it, and their paths may have some hundred characters.
    with tempfile.TemporaryDirectory(prefix="hs-", dir=_memory_with_room()) as name:
        Path(name).chmod(0o755)  # for the embedded Postgres, which is another user where root runs the tests
        os.environ["TMPDIR"] = tempfile.tempdir = name
        try:
            yield Path(name)
        finally:
            os.environ.pop("TMPDIR")
            if before[0] is not None:
                os.environ["TMPDIR"] = before[0]
            tempfile.tempdir = before[1]


def _memory_with_room() -> Path | None:
    """Where TMPDIR says nothing else."""
    usable = "TMPDIR" not in os.environ and MEMORY.is_dir() and os.access(MEMORY, os.W_OK | os.X_OK)
    return MEMORY if usable and min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) > ROOM else None


def leftovers(folder: Path) -> list[str]:
    """Name the processes that still run, and the files that are still there, of those to whom the folder was given."""
    files = [path for path in folder.iterdir() if path.name != RUNTIME]
    sockets = [path for path in folder.rglob("*") if path.is_socket()]
    return [*map(str, files), *map(str, sockets), *_processes_that_know(folder)]


def _processes_that_know(folder: Path) -> list[str]:
    knowing = [process for process in psutil.process_iter(["cmdline"]) if _knows(process, folder)]
    return [" ".join(process.info["cmdline"] or []) for process in knowing]


def _knows(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.pid != os.getpid() and bool(process.environ().get("TMPDIR") == str(folder))
    except psutil.Error:  # it has ended, or is another user's
        return False
