"""The protocol of all backends, and the one that needs no other process."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.progress import Progress, part

Work = Callable[[Any, Progress], Any]
"""Turns a point into a value; the callback may raise to stop it."""


@dataclass(frozen=True)
class Setup:
    """What a worker makes once: a function of a module, by name, and arguments that can be pickled."""

    module: str
    function: str
    arguments: tuple[Any, ...] = ()

    def make(self) -> Work:
        """Call the function; it gives what does the work."""
        made: Work = getattr(import_module(self.module), self.function)(*self.arguments)
        return made


@dataclass(frozen=True)
class Outcome:
    """What has become of one point."""

    number: int
    """Its place among the points."""
    value: Any


@dataclass(frozen=True)
class WorkerState:
    """What one worker is at."""

    device: str
    """In a word: "cpu", or the CUDA device that it sees."""
    point: int | None
    """The place of its point among all; None: it waits, or starts."""
    done: float = 0.0
    """Share of that point."""
    left: float | None = None
    """Seconds that the point will take yet; None: that isn't known."""


Watch = Callable[[tuple[WorkerState, ...]], object]


class WorkerError(TuiPruneError):
    """A worker that can't be started, or that ends whatever it does."""


class Backend(Protocol):
    """Where points are done."""

    watch: Watch | None
    """Told, now and then, what each worker is at; from the thread that asks for outcomes."""

    def outcomes(self, setup: Setup, points: Sequence[Any], progress: Progress) -> Iterator[Outcome]:
        """Do all points; each outcome as soon as it is there.

        What `progress` raises stops all work and passes through. An error of the work is raised as in this process;
        other points are given up then. Raises `WorkerError` where workers end by themselves.
        """
        ...


class Here:
    """This process: one point after the other."""

    watch: Watch | None = None

    def outcomes(self, setup: Setup, points: Sequence[Any], progress: Progress) -> Iterator[Outcome]:
        """As `Backend` says, in the order of the points."""
        work = setup.make() if points else None
        for number, point in enumerate(points):
            assert work is not None
            yield Outcome(number, work(point, part(progress, number / len(points), (number + 1) / len(points))))


def backend_for(jobs: int | None = None, cluster: str | None = None, device: str = "cpu") -> Backend | None:
    """The backend that a user asks for; None: this process, with whatever it has at hand.

    Raises `UsageError` for a wrong number of jobs, for both at a time, or where the package for clusters is missing.
    """
    if jobs is not None and cluster is not None:
        raise UsageError("Give either --jobs N for this machine or --cluster ADDRESS, not both.")
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs takes a number of processes, 1 or more; it was {jobs}.")
    if cluster is not None:
        from tui_prune.workers.cluster import Cluster

        return Cluster(cluster, device)
    if jobs is None or jobs == 1:
        return None
    if os.name == "nt":
        raise UsageError("--jobs needs pipes that a Windows process can't hand on; use --cluster auto there.")
    from tui_prune.workers.pool import Pool

    return Pool(jobs, device)
