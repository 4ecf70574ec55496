"""`python -m tui_prune` is `tui-prune`."""

from tui_prune.cli import main

if __name__ == "__main__":
    main()
