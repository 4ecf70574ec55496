"""What a task reads, as far as that can be known: its own code, and the files that its constants name."""

import ast
import hashlib
import itertools
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from tui_prune.tasks.task import Task

_LONGEST_PATH = 4096
_MOST_NAMED = 1000
"""So many files of one constant are looked at."""


def fingerprint(task: Task) -> dict[str, Any]:
    """Plain values that change when the task's file does, a module beside it that it imports, directly or through
    others, or a file that a constant of theirs names (a string, a `Path`, or some of them in a list, tuple, set or
    dict). Of code the content counts, of named files size and time of change. A built-in task says itself what changes
    with its data. Empty for a task without either.

    Raises `OSError` where the task's file can't be read.
    """
    if task.stamp is not None:
        return dict(task.stamp())
    if task.file is None:
        return {}
    code = _code_files(task.file)
    named = sorted({path for names in _namespaces(task, code) for path in _named_files(names)} - code.keys())
    stats = {str(path): path.stat() for path in named}
    return {
        "code": {str(path): hashlib.sha256(content).hexdigest() for path, content in sorted(code.items())},
        "data": {path: [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()},
    }


def _code_files(file: Path) -> dict[Path, bytes]:
    """Content of a Python file and of all below its folder that it imports, wherever in the code that stands."""
    found = {file: file.read_bytes()}
    left = [file]
    while left:
        here = left.pop()
        with suppress(SyntaxError, ValueError):
            for base, name in _imports(ast.parse(found[here]), here, file.parent):
                for path in _files_of(base, name):
                    if path not in found:
                        with suppress(OSError):
                            found[path] = path.read_bytes()
                            left.append(path)
    return found


def _imports(tree: ast.Module, file: Path, root: Path) -> Iterator[tuple[Path, str]]:
    """The folder to look in and the dotted name of all that is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((root, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = file.parents[node.level - 1] if 0 < node.level <= len(file.parents) else root
            prefix = f"{node.module}." if node.module else ""
            yield from ((base, prefix + alias.name) for alias in node.names)


def _files_of(base: Path, name: str) -> Iterator[Path]:
    """The files that importing a dotted name from a folder runs; its last part may also be something in a module."""
    parts = [part for part in name.split(".") if part != "*"]
    for count in range(1, len(parts) + 1):
        place = base.joinpath(*parts[:count])
        for path in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
            if path.is_file():
                yield path


def _namespaces(task: Task, code: Container[Path]) -> Iterator[Mapping[str, Any]]:
    """The top-level names of the task, and of the modules among its code that are imported at the top."""
    functions = (task.evaluate, task.calibration, task.finetune, task.loss)
    left = [names for function in functions if isinstance(names := getattr(function, "__globals__", None), dict)]
    seen: set[int] = set()
    while left:
        names = left.pop()
        if id(names) not in seen:
            seen.add(id(names))
            yield names
            modules = [value for value in list(names.values()) if isinstance(value, ModuleType)]
            left += [vars(module) for module in modules if Path(getattr(module, "__file__", None) or "") in code]


def _named_files(names: Mapping[str, Any]) -> Iterator[Path]:
    for name, value in list(names.items()):
        if name.startswith("__"):
            continue
        if isinstance(value, Mapping):
            value = list(value.values())
        many = isinstance(value, (list, tuple, set, frozenset))
        for item in itertools.islice(value, _MOST_NAMED) if many else (value,):
            if isinstance(item, Path) or (isinstance(item, str) and 0 < len(item) < _LONGEST_PATH):
                with suppress(OSError, ValueError):
                    path = Path(item).resolve()
                    if path.is_file():
                        yield path
