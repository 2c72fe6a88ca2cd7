"""A local stand-in for Ultravox's calls API: for tests, the demo and docker-compose.

It serves the list of calls, a single call, and the histogram of calls per hour and per day. `Faults` is what goes wrong
with them. It is not a Flask app: a body sent by half and a connection dropped without an answer happen below WSGI.
Parameters it does not know are ignored, and `previous` is always null: nobody here pages backwards.
"""

from service.local.standin.faults import Fault, Faults, HistogramFaults
from service.local.standin.server import StandinServer

__all__ = ["Fault", "Faults", "HistogramFaults", "StandinServer"]
