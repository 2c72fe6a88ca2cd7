"""A Debian of its own, with its own systemd: as bare as debootstrap makes it, booted without a network.

Whoever has called leave_the_network() shares the machine's loopback interface, and so reaches its ports; nobody else
does. What it installs is downloaded before it is booted.
"""

import ctypes
import platform
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.paths import ROOT
from tests.support.waiting import wait_until

CLONE_NEWNET = 0x40000000  # linux/sched.h; os.unshare() is there since Python 3.12
# The machine ends with whoever has started it, even if that is killed: it is in a process namespace of its own, whose
# first process ends when unshare does, and that when its parent does.
BOUND_TO_US = ("setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--mount-proc", "--fork", "--kill-child=KILL")
NSPAWN = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--resolv-conf=off", "--console=pipe", "--boot")
# Those of Debian 12: Python 3.11, glibc 2.36.
WHEELS = (
    "--python-version=3.11",
    "--only-binary=:all:",
    *(f"--platform={tag}_{platform.machine()}" for tag in ("manylinux2014", "manylinux_2_17", "manylinux_2_28")),
)


def call(*command: str | Path) -> str:
    """Run a command that must not fail, and return what it prints."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, text=True, capture_output=True, check=False)
    if done.returncode:
        pytest.fail(f"{command[0]} fails\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}", pytrace=False)
    return done.stdout


def leave_the_network() -> None:
    """Put this thread, and what it starts from now on, where there is a loopback interface and nothing else."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "a network namespace cannot be made")
    call("ip", "link", "set", "lo", "up")


class Machine:
    """The machine whose files are in `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._nspawn: subprocess.Popen[bytes] | None = None

    def build(self, packages: Iterable[str]) -> None:
        """Make it out of Debian's packages, and put beside it what it will install."""
        call("debootstrap", "--variant=minbase", "--include=systemd-sysv", "bookworm", self.root)
        call("chroot", self.root, "apt-get", "update")
        call("chroot", self.root, "apt-get", "install", "-y", "--download-only", *packages)
        wheels = self.root / "var/cache/wheels"
        requirements = ROOT / "requirements.txt"
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet")
        call(*pip, *WHEELS, "--dest", wheels, "--requirement", requirements)
        (self.root / "etc/pip.conf").write_text("[global]\nno-index = true\nfind-links = /var/cache/wheels\n")

    def boot(self) -> None:
        """Start it, and wait until all that it starts is there."""
        self._nspawn = subprocess.Popen([*BOUND_TO_US, *NSPAWN, "--directory", self.root], stdin=subprocess.DEVNULL)
        wait_until(lambda: self._systemd() and self._try("systemctl is-system-running --wait"))

    def shut_down(self) -> None:
        self._try("systemctl poweroff")
        assert self._nspawn is not None
        self._nspawn.wait()
        self._nspawn = None

    def destroy(self) -> None:
        """End it as a power cut does."""
        if self._nspawn is not None:
            self._nspawn.kill()
            self._nspawn.wait()

    def run(self, script: str) -> str:
        """Type a script, which must not fail, into a root shell, and return what it prints."""
        return call(*self._shell(f"set -euxo pipefail\n{script}"))

    def refuses(self, script: str) -> bool:
        return not self._try(script)

    def _try(self, script: str) -> bool:
        return subprocess.run(self._shell(script), stdin=subprocess.DEVNULL, capture_output=True).returncode == 0

    def _shell(self, script: str) -> list[str]:
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        environment = ("env", "--ignore-environment", "--chdir=/root", f"PATH={path}", "HOME=/root", "TERM=dumb")
        return ["nsenter", "--target", str(self._systemd()), "--all", *environment, "bash", "-c", script]

    def _systemd(self) -> int | None:
        """Return the process id, as it is out here, of the machine's first process."""
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, "the machine is not running"
        with suppress(psutil.NoSuchProcess):  # many come and go while it boots
            for nspawn in psutil.Process(self._nspawn.pid).children():
                return next((each.pid for each in nspawn.children() if each.name() == "systemd"), None)
        return None
