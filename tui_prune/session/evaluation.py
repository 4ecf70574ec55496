"""What one task says of the opened network, and what it has said of cut ones."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

from tui_prune.archives.pruned_file import checksum
from tui_prune.cost.bench import device_of
from tui_prune.cost.measured_times import environment
from tui_prune.errors import TuiPruneError
from tui_prune.graph.graph import Graph
from tui_prune.progress import Progress, silent
from tui_prune.search.scan_cache import ScanCache, cache_file
from tui_prune.search.sensitivity import Scanner, recalibrates
from tui_prune.session.networks import Networks
from tui_prune.tasks.evidence import Half, Score
from tui_prune.tasks.task import Task


class Evaluation:
    """The task of a session, if it has one. Another task gets another one: work that goes on in a thread keeps to the
    task that it has begun with."""

    def __init__(self, networks: Networks, task: Task | None) -> None:
        self.task = None if task is None else task.for_network(networks.opened)
        self.networks = networks
        self._baseline: float | None = None
        """On all examples; measured once."""
        self._live: dict[Graph, Scanner] = {}
        self._caches: dict[tuple[Graph, Path | None, bool, bool], ScanCache] = {}

    @property
    def needed(self) -> Task:
        """The task. Raises `TuiPruneError` where there is none."""
        if self.task is None:
            raise TuiPruneError(
                "There is no task to evaluate by: open the network with --task FILE.py, or with --task images:DIR."
            )
        return self.task

    def by(self, half: Half | None) -> Task:
        """The task by half of its examples; None: by all."""
        return self.needed if half is None else self.needed.half(half)

    def known_baseline(self, half: Half | None = None) -> float | None:
        """What the task says of the network as it was opened, by half of the examples, or by all; None: it wasn't
        asked."""
        score = self._baseline
        return score.half(half) if half is not None and isinstance(score, Score) else score

    def baseline(self, half: Half | None = None, progress: Progress = silent) -> float:
        """As `known_baseline`; asks where it wasn't asked before. Raises `TuiPruneError` without a task, or when it
        fails."""
        if self._baseline is None:
            progress("evaluate", 0.0)
            self._baseline = self.needed.score(self.networks.opened.module, progress)
        known = self.known_baseline(half)
        assert known is not None
        return known

    @property
    def tells_examples_apart(self) -> bool:
        """Whether what the task says of the opened network is a `Score`, of which either half can be asked."""
        return isinstance(self._baseline, Score)

    def scanner(self, graph: Graph, *, reconstructing: bool = False, choosing: bool = False) -> Scanner:
        """What measures cuts of a graph's network, and remembers what it has measured. `choosing`: by the examples that
        choose, not by all."""
        task, opened = self.needed, self.networks.opened
        settings = {"recalibrated": recalibrates(opened.module, task)}
        if reconstructing:
            settings = {"reconstructed": task.calibration is not None}
        if choosing:
            settings["choosing"] = True
        file = cache_file(opened, graph, task, settings)
        key = graph, file, reconstructing, choosing
        if key not in self._caches:
            self._caches.setdefault(key, ScanCache(file))
        task = self.by(Half.CHOOSING if choosing else None)
        subject = self.networks.subject_of(graph)
        return Scanner(subject, graph, task, self._caches[key], reconstructing=reconstructing)

    def live_scanner(self, graph: Graph) -> Scanner:
        """The scanner of a graph's network that refits layers. Always the same: it keeps outputs of the uncut one."""
        if graph not in self._live:
            self._live.setdefault(graph, self.scanner(graph, reconstructing=True))
        return self._live[graph]

    @cached_property
    def made_from(self) -> dict[str, str]:
        """What tells the weights, the task and the device that figures depend on from others. May take a while."""
        task = ""
        try:
            if self.task is not None and self.task.stamp is not None:
                task = f"{self.task.spec} {checksum(dict(self.task.stamp()))}"
            elif self.task is not None and self.task.file is not None:
                task = f"{self.task.file} {hashlib.sha256(self.task.file.read_bytes()).hexdigest()}"
        except OSError:
            task = ""
        device, table = environment(device_of(self.networks.opened.module)), self.networks.latency_table
        if table is not None:
            device = f"{table.device}, by {table.path}"
        return {"weights": self.networks.weights_digest, "task": task, "device": device}
