"""What a sensitivity scan has measured, kept in the user's state folder, so that a scan that was stopped goes on."""

import ast
import hashlib
import itertools
import math
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tui_prune.archives.origin import FILE
from tui_prune.archives.pruned_file import checksum
from tui_prune.config import folders
from tui_prune.errors import TuiPruneError
from tui_prune.files import read_json, update_json
from tui_prune.graph.graph import Graph
from tui_prune.loading.opened import OpenedModel
from tui_prune.tasks.task import Task

_VERSION = 1


class ScanCache:
    """Score and change by the slots that a network keeps, in one file; without a file, in memory.

    A file that can't be read or isn't ours is ignored, and so is a folder that can't be written.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._points: dict[str, tuple[float, float]] = {} if file is None else _parsed(read_json(file))

    def get(self, kept_slots: np.ndarray) -> tuple[float, float] | None:
        """What was measured of the network that keeps these slots (bool, one per slot of the trace)."""
        return self._points.get(_digest(kept_slots))

    def put(self, kept_slots: np.ndarray, measured: tuple[float, float]) -> None:
        """Note a measurement; the file is replaced as a whole, and holds what others have written into it meanwhile."""
        self._points[_digest(kept_slots)] = measured
        if self._file is not None:
            update_json(self._file, self._with_others)

    def _with_others(self, content: Any) -> dict[str, Any]:
        """What the file is to hold, by what it holds now: other processes may have measured meanwhile."""
        self._points = _parsed(content) | self._points
        return {"version": _VERSION, "points": self._points}


def cache_file(opened: OpenedModel, graph: Graph, task: Task, settings: Mapping[str, Any]) -> Path | None:
    """The file for the scans of a network by a task: named after its weights, its own code if that is a file, the axes
    of its trace, the task's file and what is known of what that reads (`task_files.fingerprint`), and `settings` that
    points depend on. None: nothing tells the task apart."""
    if task.file is None and task.stamp is None:
        return None
    try:
        key = checksum(
            {
                "version": _VERSION,
                "tensors": _tensors(graph),
                "axes": [[axis.tensor, axis.dim, axis.size, axis.groups] for axis in graph.record.axes],
                "origin": opened.origin.to_dict(),
                "code": _content(opened.origin.name.rpartition(":")[0]) if opened.origin.kind == FILE else "",
                "task": [task.spec or str(task.file), fingerprint(task)],
                "settings": dict(settings),
            }
        )
    except (OSError, TuiPruneError, TypeError, RuntimeError):  # tensors of a kind that can't be read byte by byte
        return None
    return folders()["state"] / "sensitivity" / f"{key[:32]}.json"


def _tensors(graph: Graph) -> dict[str, Any]:
    model = graph.model
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _content(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _digest(kept_slots: np.ndarray) -> str:
    return hashlib.sha256(np.packbits(kept_slots).tobytes()).hexdigest()[:32]


def _parsed(content: Any) -> dict[str, tuple[float, float]]:
    try:
        points = {str(key): (float(one), float(other)) for key, (one, other) in content["points"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return {}
    finite = all(math.isfinite(value) for pair in points.values() for value in pair)
    return points if finite and content.get("version") == _VERSION else {}


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
