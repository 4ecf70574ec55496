"""What a sensitivity scan has measured, kept in the user's state folder, so that a scan that was stopped goes on."""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
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
from tui_prune.tasks.task_files import fingerprint

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
