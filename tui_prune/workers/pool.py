"""A pool of processes on this machine, one for each device or share of its cores.

Each is a fresh Python that talks through two pipes of its own: the user's program isn't run a second time, prints of
other code go to a log, and a key that interrupts the terminal reaches only this process, which then ends the others.
"""

import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import IO, Any

from tui_prune import paths
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.progress import Progress
from tui_prune.workers.backends import Outcome, Setup, Watch, WorkerError, WorkerState

MOST_TRIES = 3
"""So often a point is tried that a worker ends with."""
KNOWN = 0.1
"""The share of a point from which on it tells how long the rest will take."""
_LOOK = 0.2
"""Seconds between looks at whether the work should stop."""


class Pool:
    """Processes on this machine."""

    def __init__(self, jobs: int, device: str = "cpu") -> None:
        """`jobs` processes; on CUDA they take the visible devices in turn, on the CPU they share its cores."""
        self.jobs, self.device = jobs, device
        self.watch: Watch | None = None

    def outcomes(self, setup: Setup, points: Sequence[Any], progress: Progress) -> Iterator[Outcome]:
        """As `Backend` says. A worker that is killed is replaced, and its point is done again."""
        if not points:
            return
        packed = pickle.dumps(setup)
        left, tries = deque(range(len(points))), [0] * len(points)
        children = [Child(packed, self._environment(number)) for number in range(min(self.jobs, len(points)))]
        finished = failed_starts = 0
        spent: list[float] = []
        """Seconds that each point took."""
        try:
            while finished < len(points):
                ready = wait([child.incoming for child in children], timeout=_LOOK)
                for number, child in enumerate(children):
                    if child.incoming not in ready:
                        continue
                    message = child.received()
                    if message is None:
                        failed_starts += not child.started
                        if child.point is not None:
                            tries[child.point] += 1
                            left.appendleft(child.point)
                        if failed_starts >= MOST_TRIES or max(tries) >= MOST_TRIES:
                            raise WorkerError(f"A worker process ended by itself ({child.ending()}).")
                        child.end()
                        children[number] = Child(packed, self._environment(number))
                        continue
                    kind, content = message
                    if kind == "error":
                        raise error_of(*content)
                    if kind == "progress":
                        child.done = content
                    elif kind == "outcome":
                        finished += 1
                        spent.append(time.monotonic() - child.since)
                        done, child.point, child.done = child.point, None, 0.0
                        assert done is not None
                        yield Outcome(done, content)
                    else:
                        child.started = True
                    if child.point is None and left:
                        child.give(left.popleft(), points)
                if self.watch is not None:
                    self.watch(tuple(self._state(number, child, spent) for number, child in enumerate(children)))
                share = finished + sum(child.done for child in children if child.point is not None)
                progress(f"{len(children)} workers", share / len(points))
        finally:
            for child in children:
                child.end()

    def _state(self, number: int, child: "Child", spent: Sequence[float]) -> WorkerState:
        device = self.device
        if device.startswith("cuda"):
            device = f"cuda:{self._environment(number).get('CUDA_VISIBLE_DEVICES', '?')}"
        if child.point is None:
            return WorkerState(device, None)
        ran = time.monotonic() - child.since
        left = max(0.0, sum(spent) / len(spent) - ran) if spent else None
        if child.done > KNOWN:
            left = ran * (1 - child.done) / child.done
        return WorkerState(device, child.point, child.done, left)

    def _environment(self, number: int) -> dict[str, str]:
        environment = same_modules()
        if self.device.startswith("cuda"):
            visible = devices()
            if visible:
                environment["CUDA_VISIBLE_DEVICES"] = visible[number % len(visible)]
        threads = str(max(1, cores() // self.jobs))
        return {**environment, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}


class Child:
    """One process, and what it is doing."""

    def __init__(self, setup: bytes, environment: dict[str, str], program: str = "tui_prune.workers.child") -> None:
        self.point: int | None = None
        self.done = self.since = 0.0
        self.started = False
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        its_in, our_out = os.pipe()
        our_in, its_out = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", program, str(its_in), str(its_out)],
                pass_fds=(its_in, its_out),
                env=environment,
                cwd=paths.start_folder(),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )
        finally:
            os.close(its_in)
            os.close(its_out)
        self.incoming = Connection(our_in, writable=False)
        self._outgoing = Connection(our_out, readable=False)
        with suppress(OSError):  # one that has ended already is found by reading
            self._outgoing.send_bytes(setup)

    def give(self, number: int, points: Sequence[Any]) -> None:
        """Let it do a point."""
        self.point, self.done, self.since = number, 0.0, time.monotonic()
        with suppress(OSError):
            self._outgoing.send(points[number])

    def received(self) -> tuple[str, Any] | None:
        """What it says; None: it has ended."""
        try:
            message: tuple[str, Any] = self.incoming.recv()
            return message
        except (EOFError, OSError, pickle.UnpicklingError):
            return None

    def ending(self) -> str:
        """How it has ended: its status, and the last line that it printed."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        status = f"status {self._process.returncode}"
        return f"{status}; {lines[-1]}" if lines else status

    def end(self, grace: float = 0.0) -> None:
        """Kill it, if it is still there; it may take some seconds to end by itself, since nobody talks to it then."""
        with suppress(OSError):
            self._outgoing.close()
        with suppress(OSError, subprocess.TimeoutExpired):
            self._process.wait(grace)
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        for one in (self.incoming, self._outgoing, self._log):
            with suppress(OSError):
                one.close()


def error_of(kind: str, words: str) -> TuiPruneError:
    """What went wrong in another process."""
    return UsageError(words) if kind == "usage" else TuiPruneError(words)


def same_modules() -> dict[str, str]:
    """The environment of a process that finds the modules which this one finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def devices() -> list[str]:
    """The CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        return [name.strip() for name in said.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
