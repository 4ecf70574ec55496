"""Where things are kept. Nothing here makes a folder or looks whether there is one."""

from pathlib import Path

from tui_prune.config import folders


def state_folder() -> Path:
    """The folder for what was chosen and measured; it may be deleted at any time."""
    return folders()["state"]


def sessions_folder() -> Path:
    """The folder of kept work, a file for each network."""
    return state_folder() / "sessions"


def recovered_folder() -> Path:
    """The folder of recovered weights that no checkpoint of the user's may hold yet."""
    return state_folder() / "recovered"


def log_folder() -> Path:
    """The folder of the log and of crash reports."""
    return folders()["log"]


def log_file() -> Path:
    """The log of what was opened, chosen and done."""
    return log_folder() / "tui-prune.log"
