"""Ranks: what the first one says comes through, and a stop ends all."""

import os
from pathlib import Path

import pytest

from tui_prune.errors import Cancelled, UsageError
from tui_prune.workers import Setup
from tui_prune.workers.ranks import Ranks

WORK = """
import os, time
from pathlib import Path

def endless(folder):
    def work(say):
        Path(folder, str(os.getpid())).touch()
        say((os.environ["RANK"], os.environ["WORLD_SIZE"]))
        time.sleep(60)
    return work
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users_ranks.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_stop_ends_all_ranks(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()

    def stop() -> None:
        if len(list(marks.iterdir())) == 2:
            raise Cancelled

    said = []
    with pytest.raises(Cancelled):
        said.extend(Ranks(2).messages(Setup("users_ranks", "endless", (str(marks),)), stop))
    assert said == [("0", "2")]
    for one in marks.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(one.name), 0)


def test_what_is_asked_for_makes_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="takes a number of processes"):
        Ranks(0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    with pytest.raises(UsageError, match="needs a CUDA device for each process, and there are 2"):
        Ranks(3, "cuda")
