"""Which line of the model's code, and which module, is running now."""

import linecache
import sys
from types import FrameType, TracebackType

import torch
from torch import nn

_OWN = __file__.rpartition("channels")[0]
_TORCH = torch.__file__.rpartition("__init__")[0]
_BETWEEN = f"{_OWN}channels/hollow.py"
"""Stands between the model's code and torch's in a hollow pass."""


def _is_torch(frame: FrameType) -> bool:
    return _starts(frame, (_TORCH, "<", _BETWEEN))


def _is_own(frame: FrameType) -> bool:
    return _starts(frame, (_OWN,)) and "/models/" not in frame.f_code.co_filename


def _starts(frame: FrameType, prefixes: tuple[str, ...]) -> bool:
    return frame.f_code.co_filename.startswith(prefixes)


def running_line() -> str | None:
    """The line of model code that is running: "net.py:41: x = x.view(-1, 512)"; None where only torch's code runs."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_own(frame):
        frame = frame.f_back
    while frame is not None and _is_torch(frame):
        frame = frame.f_back
    if frame is None or _is_own(frame):
        return None
    return describe(frame.f_code.co_filename, frame.f_lineno)


def running_module() -> nn.Module | None:
    """The module whose forward runs innermost."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module):
            return owner
        frame = frame.f_back
    return None


def failing_line(error: BaseException) -> str | None:
    """The innermost line of model code in an exception's traceback."""
    found = None
    step: TracebackType | None = error.__traceback__
    while step is not None:
        if not (_is_torch(step.tb_frame) or _is_own(step.tb_frame)):
            found = (step.tb_frame.f_code.co_filename, step.tb_lineno)
        step = step.tb_next
    return None if found is None else describe(*found)


def failing_modules(error: BaseException) -> list[nn.Module]:
    """The modules whose code an exception passed through, innermost first."""
    found: list[nn.Module] = []
    step: TracebackType | None = error.__traceback__
    while step is not None:
        owner = step.tb_frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and all(owner is not module for module in found):
            found.insert(0, owner)
        step = step.tb_next
    return found


def describe(filename: str, line: int) -> str:
    """A line of code in words: its file's name, its number, its text."""
    text = linecache.getline(filename, line).strip()
    place = f"{filename.rpartition('/')[2]}:{line}"
    return f"{place}: {text}" if text else place
