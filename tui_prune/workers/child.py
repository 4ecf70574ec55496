"""The program of a worker process: takes its setup, then points, and answers with outcomes.

    python -m tui_prune.workers.child IN OUT

IN and OUT are the numbers of two pipes. It ends when the first one is closed.
"""

import os
import pickle
import queue
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

from tui_prune.errors import TuiPruneError, UsageError

_PAUSE = 0.2
"""Seconds between two reports of how far a point is."""


def main(incoming: Connection, outgoing: Connection) -> None:
    """Work until there is nobody any more to work for."""
    points: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def listen() -> None:
        try:
            while True:
                points.put(incoming.recv())
        except (EOFError, OSError):
            os._exit(0)  # also out of the middle of a point

    try:
        setup = pickle.loads(incoming.recv_bytes())
        threading.Thread(target=listen, daemon=True).start()
        work = setup.make()
        outgoing.send(("ready", None))
        while True:
            point = points.get()
            outgoing.send(("outcome", work(point, _reporting(outgoing))))
    except UsageError as error:
        outgoing.send(("error", ("usage", str(error))))
    except TuiPruneError as error:
        outgoing.send(("error", ("failure", str(error))))
    except Exception as error:  # the user's own code
        traceback.print_exc()
        outgoing.send(("error", ("failure", f"A worker failed with {type(error).__name__}: {error}.")))
    time.sleep(60)  # until whoever started it has read that, and ends it


def _reporting(outgoing: Connection) -> Any:
    last = 0.0

    def progress(stage: str, done: float) -> None:
        nonlocal last
        if time.monotonic() - last > _PAUSE:
            last = time.monotonic()
            outgoing.send(("progress", done))

    return progress


if __name__ == "__main__":
    main(Connection(int(sys.argv[1]), writable=False), Connection(int(sys.argv[2]), readable=False))
