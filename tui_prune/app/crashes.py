"""A crash leaves a file that can be sent to us, and its path on the screen."""

import logging
import os
import platform
import sys
import time
import traceback
from pathlib import Path

from tui_prune.errors import said_of
from tui_prune.formatting import printable

_log = logging.getLogger(__name__)

PACKAGES = ("tui-prune", "textual", "rich", "torch", "torchvision", "plotext")


def write(error: BaseException) -> Path | None:
    """Write a report of an exception in the user's log directory; None where nothing can be written."""
    from tui_prune.session.autosave.places import log_folder

    folder = log_folder()
    path = folder / f"crash-{time.strftime('%Y%m%d-%H%M%S')}.log"
    head = [f"{time.strftime('%Y-%m-%d %H:%M:%S')}  Python {platform.python_version()}  {platform.platform()}"]
    head += [f"{name} {_version(name)}" for name in PACKAGES]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = "\n".join([*head, "", *traceback.format_exception(error)])
        with open(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
            file.write(text.encode("utf-8", "replace"))
    except OSError:
        return None
    return path


def tell(error: BaseException, *, kept: bool = False) -> None:
    """Say on stderr that the app has crashed, where the report is, and whether the user's choices are `kept`."""
    path = write(error)
    _log.critical("crashed; the report is %s", path, exc_info=error)
    print(printable(f"tui-prune crashed: {said_of(error)}"), file=sys.stderr)
    print(f"The report is {path}" if path else "".join(traceback.format_exception(error)), file=sys.stderr)
    if kept:
        print("Your choices are kept; open it again to go on.", file=sys.stderr)


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
