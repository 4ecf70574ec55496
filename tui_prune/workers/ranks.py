"""Processes that work on one thing together, started by PyTorch's own launcher (torchrun).

Each runs the same function; the first one (rank 0) tells what comes of it. This process is none of them: it listens,
and none outlives it.
"""

import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from tui_prune import paths
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.workers.backends import Setup, WorkerError
from tui_prune.workers.pool import cores, devices, error_of, same_modules

SOCKET, SETUP = "socket", "setup.pickle"
"""What is in the folder that a rank is told."""
_LOOK = 0.2
"""Seconds between looks at whether the work should stop."""
_STATUS = re.compile(r"exitcode\s*:\s*(-?\d+)")
"""As torchrun tells it of the rank that has failed first."""


class RemoteTraceback(Exception):
    """The traceback of an error in another process, as text."""


class Ranks:
    """Processes on this machine, one for each device or share of its cores."""

    def __init__(self, count: int, device: str = "cpu") -> None:
        """`count` processes. Raises `UsageError` for a number that can't be, or where there are fewer CUDA devices."""
        if count < 1:
            raise UsageError(f"--procs takes a number of processes, 1 or more; it was {count}.")
        if os.name == "nt":
            raise UsageError("--procs needs sockets that Windows doesn't have; leave it out there.")
        if device.startswith("cuda") and count > (there := len(devices())):
            raise UsageError(f"--procs {count} needs a CUDA device for each process, and there are {there}.")
        self.count, self.device = count, device

    def messages(self, setup: Setup, waiting: Callable[[], object]) -> Generator[Any, None, None]:
        """What rank 0 says, until it is through. `setup.make()` gives, in each rank, a function that is called with a
        function to say something by; that of other ranks does nothing.

        `waiting` is called again and again; what it raises ends all ranks and passes through. An error in one of them
        is raised here, with its traceback as the cause. Raises `WorkerError` where one ends by itself.
        """
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tui-prune-")))
            (folder / SETUP).write_bytes(pickle.dumps(setup))
            server = stack.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(str(folder / SOCKET))
            server.listen(self.count)
            started = _Started(self._launch(folder), self.count, folder)
            stack.callback(started.end)
            over = False
            while not over:
                for one in wait([server, *started.connections], timeout=_LOOK):
                    if one is server:
                        started.take(server.accept()[0])
                        continue
                    assert isinstance(one, Connection)
                    kind, content = started.received(one)
                    if kind == "error":
                        raise _error(*content)
                    over = over or (kind == "over" and started.rank_of(one) == 0)
                    if kind == "said":
                        yield content
                started.check()
                waiting()

    def _launch(self, folder: Path) -> "subprocess.Popen[bytes]":
        threads = str(max(1, cores() // self.count))
        environment = same_modules() | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        if sys.platform == "linux":
            environment.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the name of this machine may not be known to itself
        launcher = ["torch.distributed.run", "--nnodes=1", f"--nproc-per-node={self.count}", "--max-restarts=0"]
        meeting = ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1"]
        with (folder / "launcher.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *launcher, *meeting, "-m", "tui_prune.workers.rank", str(folder)],
                env=environment,
                cwd=paths.start_folder(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


class _Started:
    """The launcher and the ranks that have come up."""

    def __init__(self, launcher: "subprocess.Popen[bytes]", count: int, folder: Path) -> None:
        self.connections: list[Connection] = []
        self._launcher, self._count, self._folder = launcher, count, folder
        self._ranks: dict[Connection, tuple[int, int]] = {}
        """Rank and process of each that has said so."""
        self._through: set[Connection] = set()

    def take(self, accepted: socket.socket) -> None:
        """Listen to one more."""
        self.connections.append(Connection(accepted.detach()))

    def rank_of(self, connection: Connection) -> int:
        """Which one it is."""
        return self._ranks[connection][0]

    def received(self, connection: Connection) -> tuple[str, Any]:
        """What one says. Raises `WorkerError` where it has ended before it was through."""
        try:
            kind, content = connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            self.connections.remove(connection)
            if connection in self._through or connection not in self._ranks:
                return "gone", None
            raise WorkerError(self._ending(self.rank_of(connection))) from None
        if kind == "here":
            self._ranks[connection] = content
        elif kind == "over":
            self._through.add(connection)
        return kind, content

    def check(self) -> None:
        """Raises `WorkerError` where the launcher has ended and nobody has said anything."""
        if self._launcher.poll() is not None and not self.connections:
            raise WorkerError(f"The processes of --procs {self._count} can't be started ({self._last('launcher')}).")

    def _ending(self, rank: int) -> str:
        with suppress(subprocess.TimeoutExpired):  # it says which status the first one had
            self._launcher.wait(10)
        found = _STATUS.search(self._read("launcher"))
        status = f"status {found.group(1)}; " if found else ""
        said = self._last(str(rank))
        return f"Process {rank + 1} of {self._count} ended by itself ({status}{said})."

    def _read(self, log: str) -> str:
        try:
            return (self._folder / f"{log}.log").read_text(errors="replace")
        except OSError:
            return ""

    def _last(self, log: str) -> str:
        lines = self._read(log).strip().splitlines()
        return lines[-1].strip().rstrip(".") if lines else "it has printed nothing"

    def end(self) -> None:
        """Kill all that are still there."""
        for connection in self.connections:
            known = self._ranks.get(connection)
            if known is not None and self._launcher.poll() is None:  # which hasn't let go of its number then
                with suppress(OSError):
                    os.kill(known[1], signal.SIGKILL)
            with suppress(OSError):
                connection.close()
        self._launcher.terminate()
        try:
            self._launcher.wait(10)
        except subprocess.TimeoutExpired:
            self._launcher.kill()
            self._launcher.wait()


def _error(kind: str, words: str, traceback: str | None) -> TuiPruneError:
    error = error_of(kind, words)
    if traceback is not None:
        error.__cause__ = RemoteTraceback(traceback)
    return error
