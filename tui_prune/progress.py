"""How long work reports where it is, and how it is asked to stop."""

from typing import Protocol


class Progress(Protocol):
    """Called between steps of long work, from whatever thread does the work.

    To stop the work the callback raises `tui_prune.errors.Cancelled`; nothing has been written then.
    """

    def __call__(self, stage: str, done: float) -> None:
        """Report `stage` (a word or two, lower case: "trace", "cut", "verify") and the share done, 0 to 1."""
        ...


def silent(stage: str, done: float) -> None:
    """The callback of somebody who doesn't want to know."""


def part(progress: Progress, first: float, last: float) -> Progress:
    """The callback of work that is a part of other work: its 0 to 1 are the other's `first` to `last`."""

    def report(stage: str, done: float) -> None:
        progress(stage, first + (last - first) * done)

    return report
