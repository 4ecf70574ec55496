"""The functions of a model's classes, and which names their code may read, as far as the code itself says."""

import ast
import dis
import inspect
import linecache
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from torch import nn

from tui_prune.graph.model_code import Line, owner_of

_NAMING = frozenset(
    dis.opmap[name] for name in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_CONST", "RETURN_CONST") if name in dis.opmap
)
"""Instructions whose argument may name an attribute or an entry."""
_INNER = ("body", "orelse", "finalbody", "handlers", "cases")
"""Where statements stand in others."""
_CALLING = nn.modules.module.__file__
"""Calls the `forward` of a module."""


class FunctionsOf:
    """The functions of classes of modules, PyTorch's base class left out."""

    def __init__(self, kinds: Iterable[type[nn.Module]]) -> None:
        self._kinds = tuple(dict.fromkeys(kinds))

    @cached_property
    def _by_name(self) -> dict[str, list[FunctionType]]:
        found: dict[str, list[FunctionType]] = {}
        for kind in self._kinds:
            for name, function in functions_of(kind):
                found.setdefault(name, []).append(function)
        return found

    @property
    def names(self) -> frozenset[str]:
        """The names of the functions."""
        return frozenset(self._by_name)

    @cached_property
    def properties(self) -> frozenset[str]:
        """The names that are read like attributes, and computed."""
        found = [base for kind in self._kinds for base in kind.__mro__[: kind.__mro__.index(nn.Module)]]
        return frozenset(
            name
            for base in found
            for name, value in vars(base).items()
            if isinstance(value, (property, cached_property))
        )

    def names_of(self, function: str) -> frozenset[str]:
        """The names in the functions of one name."""
        return frozenset(name for own in self._by_name.get(function, ()) for name in names_in(own.__code__))

    def names_from(self, *starts: str) -> frozenset[str]:
        """The names in these functions, in all functions of the classes that bear one of those names, and so on."""
        names: set[str] = set()
        waiting = [function for start in starts for function in self._by_name.get(start, ())]
        seen: set[CodeType] = set()
        while waiting:
            function = waiting.pop()
            if function.__code__ in seen:
                continue
            seen.add(function.__code__)
            for name in names_in(function.__code__):
                if name not in names:
                    names.add(name)
                    waiting += self._by_name.get(name, ())
                helper = function.__globals__.get(name)
                if isinstance(helper, FunctionType) and not (helper.__module__ or "").startswith("torch"):
                    waiting.append(helper)
        return frozenset(names)


def functions_of(kind: type[nn.Module]) -> Iterator[tuple[str, FunctionType]]:
    """The functions of a class and its bases by name: methods, and what reads a property."""
    for base in kind.__mro__[: kind.__mro__.index(nn.Module)]:
        for name, value in vars(base).items():
            function = _plain_function(value)
            if function is not None:
                yield name, function


def _plain_function(value: Any) -> FunctionType | None:
    if isinstance(value, property):
        value = value.fget
    elif isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    value = getattr(value, "func", value)  # of a property that is computed once
    try:
        value = inspect.unwrap(value) if callable(value) else value
    except ValueError:
        return None
    return value if isinstance(value, FunctionType) else None


def names_in(code: CodeType) -> frozenset[str]:
    """Every name that a function's code uses, and every text in it, which may be the name of an attribute."""
    names = {*code.co_names, *(constant for constant in code.co_consts if isinstance(constant, str))}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= names_in(constant)
        elif isinstance(constant, tuple):
            names.update(text for text in constant if isinstance(text, str))
    return frozenset(names)


def other_paths(kind: type[nn.Module]) -> Iterator[tuple[str, FunctionType]]:
    """Methods that take what `forward` takes: a network may be told to run one of them in its place."""
    wanted = _parameters(kind.forward)
    if not wanted or len(wanted) < 2:
        return
    for name, function in functions_of(kind):
        if name != "forward" and not name.startswith("__") and _parameters(function) == wanted:
            yield name, function


def _parameters(function: Any) -> list[tuple[str, Any]] | None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    return [(parameter.name, parameter.kind) for parameter in signature.parameters.values()]


def describe(filename: str, line: int) -> str:
    """A line of code in words: its file's name, its number, its text."""
    text = linecache.getline(filename, line).strip()
    place = f"{filename.rpartition('/')[2]}:{line}"
    return f"{place}: {text}" if text else place


class ReadNames(NamedTuple):
    """The names of attributes and entries that a function reads."""

    on_line: frozenset[str]
    """On the line that failed."""
    in_function: frozenset[str]


def failing_reads(error: BaseException | None) -> list[tuple[type[nn.Module], ReadNames]]:
    """The classes of the modules whose code an exception passed through, innermost first, and what that code reads."""
    found: list[tuple[type[nn.Module], ReadNames]] = []
    step = None if error is None else error.__traceback__
    while step is not None:
        owner, code = owner_of(step.tb_frame), step.tb_frame.f_code
        if owner is not None and code.co_filename != _CALLING:
            found.insert(0, (type(owner), ReadNames(names_read(code, step.tb_lineno), names_read(code))))
        step = step.tb_next
    return found


def reads_at(line: Line, kinds: Iterable[type[nn.Module]]) -> Iterator[tuple[type[nn.Module], ReadNames]]:
    """The classes with a function that a line belongs to, and what it reads."""
    for kind in kinds:
        for _, function in functions_of(kind):
            code = function.__code__
            if code.co_filename == line.file and any(number == line.number for *_, number in code.co_lines()):
                yield kind, ReadNames(names_read(code, line.number), names_read(code))
                break


def names_read(code: CodeType, line: int | None = None) -> frozenset[str]:
    """The names that a function may read attributes and entries by, those of functions in it included; with a line,
    only those of the statement that it belongs to."""
    names: set[str] = set()
    statement = None if line is None else _statement(code, line)
    lines = {offset: number for start, end, number in code.co_lines() for offset in range(start, end)}
    for instruction in dis.get_instructions(code):
        value = instruction.argval
        here = statement is None or lines.get(instruction.offset) in statement
        if here and isinstance(value, str) and instruction.opcode in _NAMING:
            names.add(value)
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and (statement is None or constant.co_firstlineno in statement):
            names |= names_read(constant)
    return frozenset(names)


def _statement(code: CodeType, line: int) -> range:
    """The lines of the statement that a line belongs to; the line alone where the source isn't there."""
    try:
        statements = _statements("".join(linecache.getlines(code.co_filename)))
    except (SyntaxError, ValueError):
        return range(line, line + 1)
    return min((own for own in statements if line in own), key=len, default=range(line, line + 1))


@lru_cache(maxsize=16)
def _statements(source: str) -> tuple[range, ...]:
    """The lines of each statement of a file; of a loop or a condition those of its head."""
    found, waiting = [], deque[Any](ast.parse(source).body)
    while waiting:
        node = waiting.popleft()
        inner = [part for name in _INNER for part in getattr(node, name, ())]
        waiting.extend(inner)
        if isinstance(node, ast.stmt):
            first, last = node.lineno, node.end_lineno or node.lineno
            body = getattr(node, "body", None)
            found.append(range(first, 1 + (min(last, max(first, body[0].lineno - 1)) if body else last)))
    return tuple(found)
