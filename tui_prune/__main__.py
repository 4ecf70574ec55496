"""What the command `tui-prune` runs, as does `python -m tui_prune`."""

import os
import sys

from tui_prune.errors import INTERRUPTED
from tui_prune.loading.request import OpenRequest

COMMANDS = frozenset(
    (
        "bench",
        "config",
        "export",
        "guide",
        "inspect",
        "latency",
        "open",
        "plot",
        "prune",
        "report",
        "sensitivity",
        "sweep",
        "verify",
    )
)
"""Words that don't name a model; a test compares them with those of the command line."""

COMPLETION = "_TUI_PRUNE_COMPLETE"
"""Set where a shell asks the command line how a word goes on."""


def main() -> None:
    """Run the command line; ctrl+c ends it without a traceback, at any time."""
    _fill_streams()
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _fill_streams() -> None:
    """Put the null device where a standard stream is closed: a file that is opened later would get its number, and
    whatever is printed would be written into it."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            stream = open(number, mode, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _run() -> None:
    """With a model and no options the app opens without the command line: reading all its options takes longer than the
    first frame."""
    arguments = sys.argv[1:]
    plain = len(arguments) <= 1 and not any(word in COMMANDS or word.startswith("-") for word in arguments)
    if plain and COMPLETION not in os.environ:
        from tui_prune.app.main import run

        sys.exit(run(OpenRequest(next(iter(arguments), None)), None))
    from tui_prune.cli.main import main

    main()


if __name__ == "__main__":
    main()
