"""A Ray cluster: one actor for each device or core that it has, each with a setup of its own.

Ray is no dependency (`pip install "tui-prune[cluster]"`); it is imported when a cluster is asked for. Its driver takes
over signals, so it has a process of its own (`workers.driver`), which hands on what actors find out.
"""

import pickle
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.progress import Progress, silent
from tui_prune.workers.backends import Outcome, Setup, Watch, Work, WorkerError, WorkerState
from tui_prune.workers.pool import Child, error_of, same_modules

AUTO = "auto"
"""The cluster that this machine is in, or else this machine alone."""
MOST_TRIES = 3
_LOOK = 0.2
"""Seconds between looks at whether the work should stop."""
_GRACE = 8.0
"""Seconds in which a driver may leave its cluster in order."""
_LARGEST_FILE = 2**33


class Cluster:
    """The actors of a Ray cluster."""

    def __init__(self, address: str, device: str = "cpu", cores: int | None = None) -> None:
        """`address`: "auto", or that of a cluster ("ray://host:10001"). `cores`: of a cluster that is started here.

        Raises `UsageError` for another address, or where Ray isn't installed.
        """
        if address != AUTO and not address.startswith("ray://"):
            raise UsageError(f"--cluster takes auto or ray://HOST:PORT; it was {address!r}.")
        if find_spec("ray") is None:
            raise UsageError('Ray isn\'t installed; install it with: pip install "tui-prune[cluster]"')
        self.address, self.device, self._cores = address, device, cores
        self.watch: Watch | None = None

    def outcomes(self, setup: Setup, points: Sequence[Any], progress: Progress) -> Iterator[Outcome]:
        """As `Backend` says. The setup, with the files that it names, goes into the object store once; the point of an
        actor whose node dies is done again on another one."""
        if not points:
            return
        told = pickle.dumps((self.address, self.device, self._cores, setup, list(points)))
        driver = Child(told, same_modules(), "tui_prune.workers.driver")
        share = 0.0
        try:
            while True:
                if driver.incoming.poll(_LOOK):
                    message = driver.received()
                    if message is None:
                        raise WorkerError(f"The process that drives Ray ended by itself ({driver.ending()}).")
                    kind, content = message
                    if kind == "error":
                        raise error_of(*content)
                    if kind == "over":
                        return
                    if kind == "outcome":
                        yield Outcome(*content)
                    elif kind == "progress":
                        share = content
                    elif self.watch is not None:
                        self.watch(content)
                progress("workers of the cluster", share)
        finally:
            driver.end(_GRACE)

    def drive(self, setup: Setup, points: Sequence[Any], progress: Progress) -> Iterator[Outcome]:
        """`outcomes`, in this process, which is the driver then."""
        ray = import_module("ray")
        self._connect(ray)
        try:
            yield from self._outcomes(ray, setup, points, progress)
        finally:
            ray.shutdown()

    def _connect(self, ray: Any) -> None:
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if self.address != AUTO:
                ray.init(self.address, **quiet)
                return
            try:
                ray.init("auto", **quiet)
            except ConnectionError:
                ray.init("local", num_cpus=self._cores, include_dashboard=False, **quiet)
        except Exception as error:  # of its own kinds
            raise WorkerError(f"The Ray cluster {self.address} can't be reached: {_first_line(error)}.") from error

    def _outcomes(self, ray: Any, setup: Setup, points: Sequence[Any], progress: Progress) -> Iterator[Outcome]:
        resources = {"num_gpus": 1} if self.device.startswith("cuda") else {"num_cpus": 1}
        have = int(ray.cluster_resources().get("GPU" if "num_gpus" in resources else "CPU", 0))
        if have < 1:
            raise WorkerError("The Ray cluster has no device of the kind that is asked for; choose another --device.")
        actor = ray.remote(max_restarts=MOST_TRIES, max_task_retries=MOST_TRIES, **resources)(_Actor)
        told = ray.put((pickle.dumps(setup), _files(setup)))
        actors = deque(actor.remote() for _ in range(min(have, len(points))))
        left, running, finished = deque(enumerate(points)), dict[Any, tuple[int, Any]](), 0
        while left or running:
            while left and actors:
                number, point = left.popleft()
                free = actors.popleft()
                running[free.do.remote([told], point)] = number, free
            ready, _ = ray.wait(list(running), timeout=_LOOK)
            for reference in ready:
                number, free = running.pop(reference)
                try:
                    kind, content = ray.get(reference)
                except ray.exceptions.RayError as error:
                    raise WorkerError(f"A worker of the cluster ended by itself: {_first_line(error)}.") from error
                if kind != "outcome":
                    raise UsageError(content) if kind == "usage" else TuiPruneError(content)
                actors.append(free)
                finished += 1
                yield Outcome(number, content)
            if self.watch is not None:
                self.watch(
                    tuple(WorkerState(f"{self.device} of the cluster", number) for number, _ in running.values())
                )
            progress(f"{min(have, len(points))} workers", finished / len(points))


class _Actor:
    """One worker: makes the setup at its first point."""

    def __init__(self) -> None:
        self._work: Work | None = None

    def do(self, told: list[Any], point: Any) -> tuple[str, Any]:
        """The outcome of a point, or what went wrong, in words. `told` holds a reference to the setup and its files in
        the object store."""
        try:
            if self._work is None:
                self._work = _unpacked(*import_module("ray").get(told[0])).make()
            return "outcome", self._work(point, silent)
        except UsageError as error:
            return "usage", str(error)
        except TuiPruneError as error:
            return "failure", str(error)
        except Exception as error:  # the user's own code
            return "failure", f"A worker failed with {type(error).__name__}: {error}."


def _files(setup: Setup) -> dict[str, bytes]:
    """What is in the files that a setup names in its arguments: on another node they may not be there."""
    named = [Path(one) for one in setup.arguments if isinstance(one, str) and Path(one).is_absolute()]
    found = {}
    for path in named:
        if path.is_file() and path.stat().st_size <= _LARGEST_FILE:
            found[str(path)] = path.read_bytes()
    return found


def _unpacked(setup: bytes, files: dict[str, bytes]) -> Setup:
    """The setup, with the files that aren't on this node written anew."""
    made: Setup = pickle.loads(setup)
    places: dict[str, str] = {}
    for name, content in files.items():
        if not Path(name).is_file():
            folder = tempfile.mkdtemp(prefix="tui-prune-")
            places[name] = str(Path(folder) / Path(name).name)
            Path(places[name]).write_bytes(content)
    arguments = tuple(places.get(one, one) if isinstance(one, str) else one for one in made.arguments)
    return Setup(made.module, made.function, arguments)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
