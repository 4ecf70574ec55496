"""Work in a process of its own, which may be stopped, may crash, and gives its memory back."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

START = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
"""A forked process has what is imported already, which spares seconds."""


class NotDone(Exception):
    """The work took too long, or its process ended before it was done; the message says which."""


def in_a_process(work: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
    """What `work` returns. Raises `NotDone`; what `work` raises is for itself to catch."""
    context = multiprocessing.get_context(START)
    ours, theirs = context.Pipe(duplex=False)
    worker = context.Process(target=_answer, args=(work, arguments, theirs))
    worker.start()
    theirs.close()
    try:
        if not ours.poll(seconds):
            raise NotDone(f"not done after {seconds:.0f} s")
        return ours.recv()
    except EOFError:
        worker.join()
        raise NotDone(f"ended with status {worker.exitcode}") from None
    finally:
        worker.kill()
        worker.join()


def _answer(work: Callable[..., Any], arguments: tuple[Any, ...], connection: Connection) -> None:
    connection.send(work(*arguments))
