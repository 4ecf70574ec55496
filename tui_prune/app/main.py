"""What the command `tui-prune` runs when it opens the app."""

import asyncio
import dataclasses
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from tui_prune import paths
from tui_prune.loading.request import OpenRequest

if TYPE_CHECKING:
    from tui_prune.planning.recipe import Recipe
    from tui_prune.progress import Progress
    from tui_prune.session.session import Session

SWITCH = 5e-4
"""Seconds between two threads' turns: a tenth of Python's own, so that a key is answered while torch is at work."""

PATIENCE = 0.5
"""Seconds that leaving waits for work that has been asked to stop."""

LONGEST_WRITE = 120.0
"""Seconds that leaving waits for the disk."""


def run(request: OpenRequest, recipe: "Recipe | None") -> int:
    """Open the app on a model and give back the exit status. torch is imported behind the first frame."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("The app needs a terminal; without one use `tui-prune prune` (see tui-prune --help).", file=sys.stderr)
        return 2

    def open_session(wanted: OpenRequest, progress: "Progress") -> "Session":
        progress("loading torch", 0.0)
        import torch

        torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
        from tui_prune import formatting
        from tui_prune.app.keeper import start_above
        from tui_prune.loading.sources.bundled import bundled_task, task_of_pruned
        from tui_prune.planning.recipe import Recipe
        from tui_prune.session.autosave import kept_work
        from tui_prune.session.session import Session
        from tui_prune.tasks.registry import open_task

        given = recipe if (wanted.spec, wanted.weights) == (request.spec, request.weights) else None
        work = kept_work(wanted) if given not in (None, Recipe()) else None
        session = Session.open(
            wanted.spec,
            weights=wanted.weights,
            input_spec=wanted.input_spec,
            task=wanted.task or bundled_task(wanted.spec, wanted.weights),
            recipe=None if work is not None and work.chosen else given,
            device=wanted.device,
            latency_table=wanted.latency_table,
            progress=progress,
        )
        if session.task is not None and session.task.notes:
            notes = (*session.opened.notes, *session.task.notes)
            session.opened = dataclasses.replace(session.opened, notes=notes)
        bundled = task_of_pruned(session.opened) if session.task is None else None
        if bundled is not None:
            session.set_task(open_task(bundled))
        if work is not None and given is not None and work.chosen:
            said = start_above(session, work, given, progress)
            session.opened = dataclasses.replace(session.opened, notes=(*said, *session.opened.notes))
        if not session.graph.record.hollow:  # a real pass would take long
            dead = session.dead_channels(progress)
            if dead:
                note = f"{formatting.dead(dead)}: D cuts them"
                session.opened = dataclasses.replace(session.opened, notes=(*session.opened.notes, note))
        return session

    from tui_prune import config
    from tui_prune.app import crashes
    from tui_prune.app.app import PruneApp
    from tui_prune.app.own_terminal import own_terminal
    from tui_prune.session.autosave.log import start_log

    start_log()
    sys.setswitchinterval(SWITCH)
    settings = config.load()
    with paths.started_here(), own_terminal():
        app = PruneApp(open_session, request, settings)
        app.run(loop=asyncio.new_event_loop(), mouse=settings.mouse)
    code = app.return_code or 0
    if app.crash is not None:
        crashes.tell(app.crash, kept=app.keeper is not None and app.keeper.kept)
        code = 1
    _leave(code)
    return code


def _leave(code: int) -> None:
    """Don't keep the user waiting for a thread that can't be stopped, such as an evaluation of their own; but wait for
    what is being written."""
    from tui_prune.app.jobs import JobThread

    deadline = time.monotonic() + PATIENCE
    others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
    waited_for = [thread for thread in others if isinstance(thread, JobThread) or not thread.daemon]
    for thread in waited_for:
        thread.join(max(0.0, deadline - time.monotonic()))
    _finish_writing()
    if any(thread.is_alive() for thread in waited_for):
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _finish_writing() -> None:
    """Recovered weights may be large, and the line may be gone already."""
    from tui_prune.session.autosave.writer import finish, is_writing

    if not is_writing():
        return
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if not finish(PATIENCE):
        with suppress(OSError):
            print("writing what is kept for another time (ctrl-c doesn't wait for it)…", file=sys.stderr, flush=True)
        with suppress(KeyboardInterrupt):
            finish(LONGEST_WRITE)
