"""What the command `tui-prune` runs when it opens the app."""

import asyncio
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui_prune.planning.recipe import Recipe
    from tui_prune.progress import Progress
    from tui_prune.session import Session

SWITCH = 5e-4
"""Seconds between two threads' turns: a tenth of Python's own, so that a key is answered while torch is at work."""

PATIENCE = 0.5
"""Seconds that leaving waits for work that has been asked to stop."""


def run(
    spec: str | None,
    weights: str | None,
    input_spec: str | None,
    task: str | None,
    recipe: "Recipe | None",
    device: str,
) -> int:
    """Open the app on a model and give back the exit status. torch is imported behind the first frame."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("The app needs a terminal; without one use `tui-prune prune` (see tui-prune --help).", file=sys.stderr)
        return 2

    def open_session(progress: "Progress") -> "Session":
        progress("loading torch", 0.0)
        import torch

        torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
        from tui_prune.opening.bundled_networks import bundled_task
        from tui_prune.session import Session

        return Session.open(
            spec,
            weights=weights,
            input_spec=input_spec,
            task=task or bundled_task(spec, weights),
            recipe=recipe,
            device=device,
            progress=progress,
        )

    from tui_prune.app import crashes
    from tui_prune.app.app import PruneApp

    sys.setswitchinterval(SWITCH)
    app = PruneApp(open_session, name_of(spec, weights))
    app.run(loop=asyncio.new_event_loop())
    code = app.return_code or 0
    if app.crash is not None:
        crashes.tell(app.crash)
        code = 1
    _leave(code)
    return code


def name_of(spec: str | None, weights: str | None) -> str:
    """What is being opened, in a word."""
    if spec is None:
        return Path(weights).name if weights else "nin"
    return Path(spec).name if os.sep in spec else spec


def _leave(code: int) -> None:
    """Don't keep the user waiting for a thread that can't be stopped, such as an evaluation of their own."""
    deadline = time.monotonic() + PATIENCE
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
