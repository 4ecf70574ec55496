"""Workers: every backend gives the same outcomes; killed ones are replaced, errors and stops come through."""

import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tui_prune.errors import Cancelled, TuiPruneError, UsageError
from tui_prune.progress import silent
from tui_prune.workers import Here, Outcome, Setup, WorkerState, backend_for
from tui_prune.workers.backends import WorkerError
from tui_prune.workers.pool import Pool

WORK = """
import os, signal, sys, time
from tui_prune.errors import UsageError

def squares(offset):
    print("of the user's own", flush=True)
    return lambda point, progress: point * point + offset

def dying(folder):
    def work(point, progress):
        mark = os.path.join(folder, str(point))
        if point == 2 and not os.path.exists(mark):
            open(mark, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return point, os.getpid()
    return work

def always_dying():
    sys.stderr.write("out of memory\\n")
    os.kill(os.getpid(), signal.SIGKILL)

def failing():
    def work(point, progress):
        if point == 1:
            raise UsageError("Point 1 is wrong.")
        return point
    return work

def broken():
    return lambda point, progress: point / 0

def endless(folder):
    def work(point, progress):
        open(os.path.join(folder, str(os.getpid())), "w").close()
        for step in range(1000):
            progress("wait", step / 1000)
            time.sleep(0.05)
    return work

def surroundings():
    return lambda point, progress: (os.environ["OMP_NUM_THREADS"], os.environ.get("CUDA_VISIBLE_DEVICES"))
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)


def setup(function: str, *arguments: Any) -> Setup:
    return Setup("users_work", function, arguments)


def test_a_pool_gives_what_one_process_gives() -> None:
    alone = list(Here().outcomes(setup("squares", 1), [1, 2, 3, 4, 5], silent))
    assert alone == [Outcome(number, (number + 1) ** 2 + 1) for number in range(5)]
    assert sorted(Pool(2).outcomes(setup("squares", 1), [1, 2, 3, 4, 5], silent), key=lambda one: one.number) == alone


def test_the_point_of_a_killed_worker_is_done_again(tmp_path: Path) -> None:
    found = list(Pool(2).outcomes(setup("dying", str(tmp_path)), [0, 1, 2, 3, 4], silent))
    assert sorted((one.number, one.value[0]) for one in found) == [(n, n) for n in range(5)]
    assert (tmp_path / "2").exists()


def test_workers_that_only_die_are_given_up_with_their_last_words() -> None:
    with pytest.raises(WorkerError, match=r"status -9; out of memory"):
        list(Pool(2).outcomes(setup("always_dying"), [0, 1, 2], silent))


@pytest.mark.parametrize(
    ("function", "kind", "sentence"),
    [("failing", UsageError, r"^Point 1 is wrong\.$"), ("broken", TuiPruneError, "failed with ZeroDivisionError")],
)
def test_errors_come_through_in_words(function: str, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        list(Pool(2).outcomes(setup(function), [0, 1, 2], silent))


def test_a_stop_ends_all_workers(tmp_path: Path) -> None:
    def stop(stage: str, done: float) -> None:
        if len([one for one in tmp_path.iterdir() if one.name.isdigit()]) == 2:
            raise Cancelled

    pool, seen = Pool(2), []
    pool.watch = seen.append
    with pytest.raises(Cancelled):
        list(pool.outcomes(setup("endless", str(tmp_path)), [0, 1], stop))
    assert [one.device for one in seen[-1]] == ["cpu", "cpu"] and {one.point for one in seen[-1]} <= {0, 1, None}
    for one in tmp_path.iterdir():
        if one.name.isdigit():
            with pytest.raises(ProcessLookupError):
                os.kill(int(one.name), signal.SIGCONT)


def test_cores_and_devices_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_prune.workers.pool.cores", lambda: 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    environments = [Pool(4, "cuda")._environment(number) for number in range(4)]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in environments] == ["3", "5", "3", "5"]
    (found,) = Pool(4, "cuda").outcomes(setup("surroundings"), [0], silent)
    assert found.value == ("2", "3")


def test_what_is_asked_for_makes_sense() -> None:
    assert backend_for() is None and backend_for(1) is None and isinstance(backend_for(2), Pool)
    with pytest.raises(UsageError, match="takes a number of processes"):
        backend_for(0)
    with pytest.raises(UsageError, match="not both"):
        backend_for(2, "auto")


def test_addresses_of_clusters_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"takes auto or ray://HOST:PORT"):
        backend_for(cluster="localhost")
    monkeypatch.setattr("tui_prune.workers.cluster.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install \"tui-prune\[cluster\]\""):
        backend_for(cluster="auto")


@pytest.mark.libraries
def test_a_cluster_gives_what_one_process_gives_and_signals_stay_ours(tmp_path: Path) -> None:
    if find_spec("ray") is None:
        pytest.skip("Ray isn't installed")
    from tui_prune.workers.cluster import Cluster

    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    found = Cluster("auto", cores=2).outcomes(setup("squares", 1), [1, 2, 3], silent)
    assert sorted((one.number, one.value) for one in found) == [(0, 2), (1, 5), (2, 10)]
    with pytest.raises(UsageError, match=r"^Point 1 is wrong\.$"):
        list(Cluster("auto", cores=2).outcomes(setup("failing"), [0, 1], silent))
    assert {one: signal.getsignal(one) for one in before} == before and "ray" not in sys.modules


def test_how_long_a_point_takes_is_told_by_what_is_done_of_it_or_by_those_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tui_prune.workers.pool.time.monotonic", lambda: 30.0)
    child = SimpleNamespace(point=4, done=0.25, since=20.0)
    assert Pool(2)._state(0, child, []) == WorkerState("cpu", 4, 0.25, 30.0)
    child.done = 0.0
    assert Pool(2)._state(0, child, [12.0, 14.0]).left == 3.0 and Pool(2)._state(0, child, []).left is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert Pool(2, "cuda")._state(1, child, []).device == "cuda:5"
