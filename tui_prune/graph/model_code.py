"""Which line of the model's code, and which module, is running now.

Of the lines that lead to an operator, a person wants to see the innermost one of code of their own. Where there is none
(the whole network is a library's), it is the innermost one of that library: not of PyTorch, nor of another library that
the network calls (its operators, einops).
"""

import functools
import linecache
import site
import sys
import sysconfig
from collections.abc import Iterator
from enum import Enum
from types import FrameType, TracebackType
from typing import NamedTuple

import torch
from torch import nn

_OWN = __file__.rpartition("graph")[0]
_ENTRANCE = f"{_OWN}graph/trace.py"
"""Calls the model: what lies further out is the code that called this package."""
_TORCH = torch.__file__.rpartition("__init__")[0]
_STANDARD = tuple({f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib")})
_INSTALLED = tuple(
    {f"{path}/" for path in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages())}
)
_FOLDERS_OF_LIBRARIES = ("/site-packages/", "/dist-packages/")


class Line(NamedTuple):
    """A line of code: its file and its number."""

    file: str
    number: int

    def __str__(self) -> str:
        """The file's name, the number and the text: "net.py:41: x = x.view(-1, 512)"."""
        text = linecache.getline(self.file, self.number).strip()
        place = f"{self.file.rpartition('/')[2]}:{self.number}"
        return f"{place}: {text}" if text else place


class Place(NamedTuple):
    """Where the model's code is."""

    exact: Line
    """The innermost line of code that isn't PyTorch's."""
    shown: Line
    """The one that a person looks for: the innermost of their own code, else of the library that the network is of."""


class _Whose(Enum):
    ENTRANCE = "this package's, where it calls the model"
    HIDDEN = "PyTorch's, Python's or this package's"
    LIBRARY = "an installed library's"
    USER = "the user's, or a bundled network's"


@functools.cache
def _whose(file: str) -> _Whose:
    if file.startswith(_OWN):
        if file.startswith(f"{_OWN}models/"):
            return _Whose.USER
        return _Whose.ENTRANCE if file == _ENTRANCE else _Whose.HIDDEN
    if file.startswith((_TORCH, "<")):
        return _Whose.HIDDEN
    if any(folder in file for folder in _FOLDERS_OF_LIBRARIES) or file.startswith(_INSTALLED):
        return _Whose.LIBRARY
    return _Whose.HIDDEN if file.startswith(_STANDARD) else _Whose.USER


@functools.cache
def _package(file: str) -> str:
    """The folder of the installed package that a file is in, or its own name where it is a package alone."""
    for folder in (*_FOLDERS_OF_LIBRARIES, *_INSTALLED):
        before, found, after = file.rpartition(folder)
        if found:
            return before + found + after.partition("/")[0]
    return file


def running_place() -> Place | None:
    """Where the model's code is running now; None where only PyTorch's code runs."""
    return _place(_running_lines())


def _running_lines() -> Iterator[Line]:
    """The lines that are running, innermost first, up to where this package calls the model."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        whose = _whose(file)
        if whose is _Whose.ENTRANCE:
            return
        if whose is not _Whose.HIDDEN:
            yield Line(file, frame.f_lineno)
        frame = frame.f_back


def _place(lines: Iterator[Line]) -> Place | None:
    """The place that these lines, innermost first, lead to."""
    libraries: list[Line] = []
    for line in lines:
        if _whose(line.file) is _Whose.USER:
            return Place(libraries[0] if libraries else line, line)
        libraries.append(line)
    if not libraries:
        return None
    network = _package(libraries[-1].file)
    return Place(libraries[0], next(line for line in libraries if _package(line.file) == network))


def running_module() -> nn.Module | None:
    """The module whose forward runs innermost."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        owner = owner_of(frame)
        if owner is not None:
            return owner
        frame = frame.f_back
    return None


def owner_of(frame: FrameType) -> nn.Module | None:
    """The module that a function works on, whatever its code calls it: the first argument of a method; in a function
    inside a method, the module that it sees of the method's."""
    code = frame.f_code
    for name in (*code.co_varnames[: min(code.co_argcount, 1)], *code.co_freevars):
        value = frame.f_locals.get(name)
        if isinstance(value, nn.Module):
            return value
    return None


def failing_place(error: BaseException) -> Place | None:
    """Where in the model's code an exception comes from."""
    steps: list[TracebackType] = []
    step: TracebackType | None = error.__traceback__
    while step is not None:
        if _whose(step.tb_frame.f_code.co_filename) is _Whose.ENTRANCE:
            steps.clear()
        steps.append(step)
        step = step.tb_next
    lines = (Line(step.tb_frame.f_code.co_filename, step.tb_lineno) for step in reversed(steps))
    return _place(line for line in lines if _whose(line.file) in (_Whose.LIBRARY, _Whose.USER))


def failing_line(error: BaseException) -> str | None:
    """The line that a person looks for where an exception comes from the model's code, in words."""
    place = failing_place(error)
    return None if place is None else str(place.shown)


def failing_modules(error: BaseException) -> list[nn.Module]:
    """The modules whose code an exception passed through, innermost first."""
    found: list[nn.Module] = []
    step: TracebackType | None = error.__traceback__
    while step is not None:
        owner = owner_of(step.tb_frame)
        if owner is not None and all(owner is not module for module in found):
            found.insert(0, owner)
        step = step.tb_next
    return found
