"""What the command `tui-prune` runs, as does `python -m tui_prune`."""

import os
import sys

from tui_prune.loading.request import OpenRequest

COMMANDS = frozenset(("bench", "config", "export", "inspect", "open", "plot", "prune", "sensitivity", "verify"))
"""Words that don't name a model; a test compares them with those of the command line."""

COMPLETION = "_TUI_PRUNE_COMPLETE"
"""Set where a shell asks the command line how a word goes on."""


def main() -> None:
    """Run the command line. With a model and no options the app opens without it: reading all its options takes
    longer than the first frame."""
    arguments = sys.argv[1:]
    plain = len(arguments) <= 1 and not any(word in COMMANDS or word.startswith("-") for word in arguments)
    if plain and COMPLETION not in os.environ:
        from tui_prune.app.main import run

        sys.exit(run(OpenRequest(*arguments), None))
    from tui_prune.cli.main import main

    main()


if __name__ == "__main__":
    main()
