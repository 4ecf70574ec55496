"""The program of a rank: does its share of what all do together, and says what comes of it.

    torchrun … -m tui_prune.workers.rank FOLDER

It ends when the process that has started it is no longer there.
"""

import os
import pickle
import socket
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.workers.ranks import SETUP, SOCKET

_GRACE = 60.0
"""Seconds in which whoever started it has read an error, and ends all."""


def main(folder: Path) -> None:
    """Work, and say how it went."""
    rank = int(os.environ["RANK"])
    log = os.open(folder / f"{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    reached = socket.socket(socket.AF_UNIX)
    reached.connect(str(folder / SOCKET))
    connection = Connection(reached.detach())
    connection.send(("here", (rank, os.getpid())))
    threading.Thread(target=_listen, args=(connection,), daemon=True).start()

    def say(content: Any) -> None:
        if rank == 0:
            connection.send(("said", content))

    try:
        pickle.loads((folder / SETUP).read_bytes()).make()(say)
    except TuiPruneError as error:
        cause = error.__cause__
        told = None if cause is None else "".join(traceback.format_exception(cause))
        connection.send(("error", ("usage" if isinstance(error, UsageError) else "failure", str(error), told)))
        time.sleep(_GRACE)
    except Exception as error:
        words = f"Process {rank + 1} failed with {type(error).__name__}: {error}"
        connection.send(("error", ("failure", f"{words.rstrip('.')}.", traceback.format_exc())))
        time.sleep(_GRACE)
    else:
        connection.send(("over", None))
        sys.stdout.flush()
        os._exit(0)  # without what libraries do at the end, such as waiting for ranks that are gone


def _listen(connection: Connection) -> None:
    try:
        connection.recv()
    except (EOFError, OSError):
        os._exit(1)  # also out of the middle of a step


if __name__ == "__main__":
    main(Path(sys.argv[1]))
