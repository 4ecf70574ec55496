"""The program of Ray's driver: takes all points, and hands on what the actors of a cluster make of them.

    python -m tui_prune.workers.driver IN OUT

IN and OUT are the numbers of two pipes. It leaves the cluster and ends when the first one is closed.
"""

import os
import pickle
import sys
import threading
import time
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection

from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.workers.cluster import Cluster

_GRACE = 60.0
"""Seconds in which whoever started it has read the last message, and ends it."""


def main(incoming: Connection, outgoing: Connection) -> None:
    """Work until all points are done, or nobody is there any more to work for."""
    address, device, cores, setup, points = pickle.loads(incoming.recv_bytes())
    threading.Thread(target=_leave, args=(incoming,), daemon=True).start()

    def tell(stage: str, done: float) -> None:
        outgoing.send(("progress", done))

    cluster = Cluster(address, device, cores)
    cluster.watch = lambda states: outgoing.send(("states", states))
    try:
        for outcome in cluster.drive(setup, points, tell):
            outgoing.send(("outcome", (outcome.number, outcome.value)))
        outgoing.send(("over", None))
    except TuiPruneError as error:
        outgoing.send(("error", ("usage" if isinstance(error, UsageError) else "failure", str(error))))
    except Exception as error:  # of Ray's own kinds
        outgoing.send(("error", ("failure", f"Ray failed with {type(error).__name__}: {str(error).rstrip('.')}.")))
    time.sleep(_GRACE)


def _leave(incoming: Connection) -> None:
    with suppress(EOFError, OSError):
        incoming.recv()
    with suppress(Exception):  # it may not have come that far
        import_module("ray").shutdown()
    os._exit(0)


if __name__ == "__main__":
    main(Connection(int(sys.argv[1]), writable=False), Connection(int(sys.argv[2]), readable=False))
