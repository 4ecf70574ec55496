"""Saves that are killed, that meet a full disk, or that meet each other."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import tui_prune
from tests.attacks.checkpoints import network
from tests.attacks.trying import Try, attack
from tui_prune.archives.pruned_file import read_checkpoint
from tui_prune.errors import TuiPruneError
from tui_prune.files import read_json, write_json
from tui_prune.loading.request import OpenRequest
from tui_prune.result import Result
from tui_prune.saving.checkpoint import save
from tui_prune.session.autosave import saved_work
from tui_prune.session.autosave.places import sessions_folder


def results() -> list[Result]:
    """Two cuts of one network."""
    return [tui_prune.prune(network(), torch.zeros(1, 3, 8, 8), ratio=ratio) for ratio in (0.25, 0.5)]


def leftovers(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.endswith(".part")]


def in_a_child(work: Callable[[], object]) -> int:
    """The process in which a function runs again and again until somebody ends it."""
    child = os.fork()
    if child:
        return child
    try:
        signal.setitimer(signal.ITIMER_REAL, 0)
        while True:
            work()
    finally:
        os._exit(1)


@attack("kill -9 during a save", "the old file or the new one, whole; leftovers go at the next save", 400)
def killed(rng: random.Random, folder: Path) -> Iterator[Try]:
    one, other = results()
    path = folder / "out.pt"
    forms = (folder / "out.pt", folder / "out.safetensors")
    for form in forms:
        save(form, one)
    wanted = {
        read_checkpoint(save(folder / "other.pt", result, force=True)).report["params"]["after"]
        for result in (one, other)
    }
    session = saved_work.SavedWork(OpenRequest("nin"), "nin", "", 0.0, {"chosen": True, "n": list(range(1000))})
    while True:
        path, seconds, kind = rng.choice(forms), rng.random() * 0.03, rng.randrange(3)

        def write(path: Path = path, kind: int = kind) -> None:
            if kind == 0:
                saved_work.write(session)
                write_json(folder / "cache.json", {"a": list(range(1000))})
            else:
                save(path, random.choice((one, other)), force=True)

        def action(
            path: Path = path, seconds: float = seconds, kind: int = kind, write: Callable[[], None] = write
        ) -> None:
            child = in_a_child(write)
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            if kind == 0:
                work = saved_work.kept_work(OpenRequest("nin"))
                assert work is None or work.state == session.state, "half a session"
                assert read_json(folder / "cache.json") in (None, {"a": list(range(1000))}), "half a cache"
                write()
                assert not leftovers(sessions_folder()), "leftovers"
            else:
                assert read_checkpoint(path).report["params"]["after"] in wanted
                save(path, one, force=True)
            assert not leftovers(folder), "leftovers"

        yield f"{'session' if kind == 0 else path.name} after {1000 * seconds:.0f} ms", action


@contextlib.contextmanager
def files_up_to(octets: int) -> Iterator[None]:
    """No file can be written beyond so many bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@attack("full disks", "a sentence; the old file is as it was, and nothing is left beside it", 400)
def full(rng: random.Random, folder: Path) -> Iterator[Try]:
    one, other = results()
    forms = (folder / "out.pt", folder / "out.safetensors")
    for form in forms:
        save(form, one)
    sizes = [form.stat().st_size for form in forms]
    session = saved_work.SavedWork(OpenRequest("nin"), "nin", "", 0.0, {"chosen": True, "n": list(range(3000))})
    while True:
        number, share, kind = rng.randrange(2), rng.random() * 1.1, rng.randrange(4)

        def action(number: int = number, share: float = share, kind: int = kind) -> None:
            path = forms[number]
            before = path.read_bytes()
            with files_up_to(int(share * sizes[number])):
                try:
                    if kind == 0:
                        saved_work.write(session)
                    elif kind == 1:
                        write_json(folder / "cache.json", {"a": list(range(3000))})
                    else:
                        save(path, other, force=True)
                except TuiPruneError as error:
                    assert "Nothing was changed" in str(error) or "written" in str(error), str(error)
                    assert path.read_bytes() == before, "the old file was changed"
            assert not leftovers(folder), "leftovers"
            if kind == 0:
                work = saved_work.kept_work(OpenRequest("nin"))
                assert work is None or work.state == session.state
                assert not sessions_folder().is_dir() or not leftovers(sessions_folder())
            elif kind == 1:
                assert read_json(folder / "cache.json") in (None, {"a": list(range(3000))})
            else:
                read_checkpoint(path)
                save(path, one, force=True)

        yield f"{kind} up to {100 * share:.0f} %", action


@attack("several saves at once", "a whole file, and nothing is left beside it", 150)
def together(rng: random.Random, folder: Path) -> Iterator[Try]:
    chosen = results()
    path = folder / "out.pt"
    save(path, chosen[0])
    while True:
        count = rng.randrange(2, 4)

        def action(count: int = count) -> None:
            children = []
            for number in range(count):
                child = os.fork()
                if child == 0:
                    code = 1
                    try:
                        signal.setitimer(signal.ITIMER_REAL, 0)
                        for _ in range(3):
                            save(path, chosen[number % 2], force=True)
                        code = 0
                    finally:
                        os._exit(code)
                children.append(child)
            codes: list[Any] = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
            assert codes == [0] * count, codes
            read_checkpoint(path)
            assert not leftovers(folder), "leftovers"

        yield f"{count}", action
