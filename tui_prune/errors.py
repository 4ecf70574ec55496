"""What a user can be told: every error here is one sentence that says what is wrong and what to do."""


class TuiPruneError(Exception):
    """A failure that the user can understand and act on; shown without a traceback."""


class UsageError(TuiPruneError):
    """A wrong use of a command, a recipe or a function (exit status 2 on the command line)."""


class Cancelled(TuiPruneError):
    """Raised out of a progress callback when the user has asked to stop."""

    def __init__(self) -> None:
        super().__init__("Cancelled; nothing was written.")
