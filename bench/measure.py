"""What the benchmarks share: a load, what a tree of processes has used, and figures as a table.

Contenders take turns within a round, and rounds follow one another: what else the machine does meets all of them alike.
"""

import os
import re
import select
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")


class Spread(NamedTuple):
    """Several rounds of one figure."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def __str__(self) -> str:
        low, high = min(self.rounds), max(self.rounds)
        return f"{self.median:,.0f} ({low:,.0f}–{high:,.0f})"


def tree(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in tree(int(child)))]


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return what the processes have used of user and system time so far (proc(5))."""
    used = 0
    for pid in pids:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used += int(after_name[11]) + int(after_name[12])
    return used / TICKS


def memory_mib(pids: Iterable[int]) -> float:
    """Return the proportional share of the processes' memory: what they share counts once."""
    kib = 0
    for pid in pids:
        found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        kib += int(found[1]) if found else 0
    return kib / 1024


def wait_for_end(process: subprocess.Popen[bytes]) -> float:
    """Wait for the end of a process and return its peak memory in MiB, looked up ten times a second (proc(5)).

    What wait4(2) tells begins with the memory of whoever has started the process.
    """
    mebibytes = 0.0
    end = os.pidfd_open(process.pid)
    while not select.select([end], [], [], 0.1)[0]:
        found = re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
        mebibytes = int(found[1]) / 1024 if found else mebibytes
    os.close(end)
    process.wait()
    return mebibytes


def run(command: Sequence[str | Path], **options: object) -> str:
    """Return what a command prints; raise where it fails."""
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout  # type: ignore[call-overload, no-any-return]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
