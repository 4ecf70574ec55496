"""A crash leaves a file that can be sent to us, and its path on the screen."""

import platform
import sys
import time
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("tui-prune", "textual", "rich", "torch", "torchvision", "plotext")


def write(error: BaseException) -> Path | None:
    """Write a report of an exception in the user's log directory; None where nothing can be written."""
    from platformdirs import user_log_path

    folder = user_log_path("tui-prune", appauthor=False)
    path = folder / f"crash-{time.strftime('%Y%m%d-%H%M%S')}.log"
    head = [f"{time.strftime('%Y-%m-%d %H:%M:%S')}  Python {platform.python_version()}  {platform.platform()}"]
    head += [f"{name} {_version(name)}" for name in PACKAGES]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([*head, "", *traceback.format_exception(error)]), encoding="utf-8")
    except OSError:
        return None
    return path


def tell(error: BaseException) -> None:
    """Say on stderr that the app has crashed and where the report is."""
    path = write(error)
    print(f"tui-prune crashed: {type(error).__name__}: {error}", file=sys.stderr)
    print(f"The report is {path}" if path else "".join(traceback.format_exception(error)), file=sys.stderr)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
