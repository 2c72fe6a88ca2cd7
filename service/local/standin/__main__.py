"""The command `python -m service.local.standin`."""

import argparse
import os
import signal
import sys
from datetime import UTC, datetime

from service.local.demo_calls import demo_calls
from service.local.standin.faults import Faults
from service.local.standin.server import StandinServer


def main() -> None:
    """Serve demo calls until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        "python -m service.local.standin", description="A local stand-in for Ultravox's calls API."
    )
    parser.add_argument("--host", default="127.0.0.1")
    defaults = {"--port": 9100, "--calls": 4000, "--seed": 7, "--months": 4, "--page-size": 100}
    for option, default in defaults.items():
        parser.add_argument(option, type=int, default=default)
    options = parser.parse_args()
    key = os.environ.get("ULTRAVOX_API_KEY") or parser.error("set ULTRAVOX_API_KEY: the one key that is accepted")
    stops = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)  # before any thread, which inherits it: they wait for sigwait
    calls = demo_calls(options.calls, seed=options.seed, until=datetime.now(UTC), months=options.months)
    faults = Faults(max_page_size=options.page_size)
    with StandinServer({key: calls}, faults=faults, host=options.host, port=options.port) as server:
        sys.stderr.write(f"Ultravox stand-in: {len(calls)} calls at {server.url}\n")
        signal.sigwait(stops)


if __name__ == "__main__":
    main()
