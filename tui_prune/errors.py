"""What a user can be told: every error here is one sentence that says what is wrong and what to do."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import Enum, auto

INTERRUPTED = 130
"""The exit status that shells give to what ctrl+c has ended."""


class Remedy(Enum):
    """What the user can do where a network can't be opened."""

    INPUT = auto()
    """Give another example input."""
    OWN_CODE = auto()
    """Name the code that makes the network, and then the weights."""
    AGAIN = auto()
    """Mend the file or the code, and try again."""
    OTHER = auto()
    """Open something else."""


class TuiPruneError(Exception):
    """A failure that the user can understand and act on; shown without a traceback."""

    def __init__(self, *said: object, remedies: Iterable[Remedy] = ()) -> None:
        super().__init__(*said)
        self.remedies = tuple(remedies)


class UsageError(TuiPruneError):
    """A wrong use of a command, a recipe or a function (exit status 2 on the command line)."""


class Cancelled(TuiPruneError):
    """Raised out of a progress callback when the user has asked to stop."""

    def __init__(self) -> None:
        super().__init__("Cancelled; nothing was written.")


class ForeignError(Exception):
    """What other people's code has raised, where that was no `Exception`, or one that can't say anything."""


@contextmanager
def ordinary_errors() -> Iterator[None]:
    """Let whatever other people's code raises in the block be an `Exception` whose message can be read.

    Anything else is replaced by a `ForeignError` of the same class name and traceback. Only ctrl+c passes.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, TuiPruneError) or interrupts(error):
            raise
        message = _message(error)
        if isinstance(error, Exception) and message is not None:
            raise
        kind = type(type(error).__name__, (ForeignError,), {})
        raise kind(message or "").with_traceback(error.__traceback__) from error


def interrupts(error: BaseException) -> bool:
    """Whether an exception is the user's ctrl+c, which Python raises in the main thread; elsewhere some code has."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def said_of(error: BaseException) -> str:
    """The class of an exception and its message, where it can say one."""
    message = _message(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _message(error: BaseException) -> str | None:
    """None: it can't say anything."""
    try:
        return str(str(error))
    except BaseException as failure:
        if interrupts(failure):
            raise
        return None
