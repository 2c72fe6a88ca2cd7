"""What the local stack of a checkout keeps in its folder .local: a lock, and secrets that are made up once."""

import fcntl
import os
import secrets
import sys
from pathlib import Path
from typing import IO

from service.local.demo import new_ultravox_key
from service.local.kept_secrets import kept_secret

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".local"


def lock_checkout() -> IO[str]:
    """Take this checkout's lock, held while the returned file is open; exit if another stack holds it.

    The file names who holds it.
    """
    STATE.mkdir(exist_ok=True)
    lock = (STATE / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        process = lock.read()
        sys.exit(
            f"the local stack of this checkout is running already, as process {process}: use that one, or stop it with"
            f" Ctrl-C where it was started, or with `kill {process}`, and try again"
        )
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def jwt_secret() -> str:
    return kept_secret(STATE, "jwt-secret", lambda: secrets.token_urlsafe(48))


def ultravox_key() -> str:
    return kept_secret(STATE, "ultravox-key", new_ultravox_key)
