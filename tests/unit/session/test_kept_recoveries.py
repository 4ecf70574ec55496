"""Recovered weights that are kept beside the choices: taken up where all is as it was, and never anywhere else."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import tui_prune
from tui_prune.app.weights_keeper import WeightsKeeper, take_up
from tui_prune.archives.pruned_file import Checkpoint, checksum
from tui_prune.errors import Cancelled, TuiPruneError
from tui_prune.loading.request import OpenRequest
from tui_prune.recovery import finetuning
from tui_prune.result import Result
from tui_prune.saving import kept_weights
from tui_prune.saving.checkpoint import read_checkpoint, verify_checkpoint
from tui_prune.session.autosave import recovered_files
from tui_prune.session.autosave.networks import key
from tui_prune.session.autosave.saved_work import MOST, SavedWork, forget, set_aside, write
from tui_prune.session.autosave.writer import finish
from tui_prune.session.recoveries import Recoveries
from tui_prune.session.session import Session
from tui_prune.session.state import Outcome, State

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.head = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Linear(16, 4)
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 16).view(1, -1, 1, 1), persistent=False)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.first(x) * self.scale)).mean((2, 3)))

def make():
    torch.manual_seed(SEED)
    return Net().eval()
"""
TASK = """
import torch

def evaluate(model):
    return float(model.head.bias[0].detach())

def calibration():
    return torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(1)).split(16)

def finetune(model, progress):
    for step, bias in enumerate((1.0, 3.0, 2.0, STOP), 1):
        if bias is None:
            raise ValueError("out of memory")
        model(torch.zeros(2, 3, 8, 8))
        with torch.no_grad():
            model.head.bias.fill_(bias)
        progress(step / 4, accuracy=evaluate(model))
"""
REQUEST = OpenRequest("net.py:make", input_spec="1,3,8,8", task="task.py")
WORK = SavedWork(REQUEST, "net", "", 0.0, {})


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    write_files()
    return tmp_path / "state" / "tui-prune" / "recovered"


def write_files(seed: int = 0, last: str = "2.5") -> None:
    Path("net.py").write_text(NET.replace("SEED", str(seed)))
    Path("task.py").write_text(TASK.replace("STOP", last))


def open_session(ratio: float = 0.5) -> Session:
    session = Session.open(REQUEST.spec, input_spec=REQUEST.input_spec, task=REQUEST.task)
    session.set_ratio(ratio)
    return session


def kept(session: Session, said: list[str] | None = None) -> WeightsKeeper:
    return WeightsKeeper(session, REQUEST, [].append if said is None else said.append)


def recovered(*, finetune: bool = True, ratio: float = 0.5) -> Session:
    """A session that has recovered its plan, and kept that."""
    session = open_session(ratio)
    keeper = kept(session)
    session.recover(finetune=finetune)
    keeper.settle()
    assert finish(30)
    return session


def the_file() -> Path:
    (path,) = recovered_files.files_of(key(REQUEST))
    return path


def values(session: Session) -> dict[str, torch.Tensor]:
    assert session.recovered is not None
    model = session.recovered.model
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def refused(session: Session) -> str:
    """The sentence on the one file that can't be taken up, which is left aside."""
    path = the_file()
    (sentence,) = take_up(session, WORK)
    assert session.recovered is None
    assert not session.recoveries
    assert not path.exists()
    assert (path.parent / "aside" / path.name).is_file()
    return sentence


def rewritten(change: Callable[[Checkpoint], None]) -> None:
    """The file with another content, and a checksum that is right."""
    checkpoint = read_checkpoint(the_file())
    change(checkpoint)
    kept_weights.fill(the_file(), checkpoint)


def put(path: Path, content: bytes) -> None:
    recovered_files.write(path, len(content), lambda part: part.write_bytes(content))


# Taking up


def test_another_process_goes_on_with_the_same_network(folder: Path) -> None:
    before = recovered()
    program = (
        "from tests.unit.session.test_kept_recoveries import *\n"
        "session = open_session()\n"
        "assert take_up(session, WORK) == []\n"
        "print(json.dumps([checksum(values(session)), session.recovered.report.to_dict()]))\n"
        "session.save('out.pt')"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert done.returncode == 0, done.stderr
    digest, report = json.loads(done.stdout)
    assert digest == checksum(values(before))
    assert report["recovered"] == ["recalibrated", "fine-tuned"]
    assert report["accuracy"] == before.recovered.report.to_dict()["accuracy"]
    saved = read_checkpoint("out.pt")
    assert saved.report["accuracy"]["recovered"] == 3.0
    model = tui_prune.load("out.pt", model=open_session().opened.module)
    assert model.head.bias.tolist() == [3.0] * 4
    assert the_file().stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o077 == 0


def test_the_file_is_a_checkpoint_by_itself() -> None:
    before = recovered()
    assert verify_checkpoint(the_file(), open_session().opened.module).ok
    plain = safetensors.torch.load_file(the_file())
    assert torch.equal(plain["head.bias"], before.recovered.model.head.bias)


def test_a_truncated_file_is_left_aside() -> None:
    recovered()
    content = the_file().read_bytes()
    for length in (0, 7, 100, len(content) // 2, len(content) - 1):
        the_file().write_bytes(content[:length])
        assert "can't be taken up" in refused(open_session())
        put(recovered_files.file_of(key(REQUEST), open_session().recipe.key), content)
    assert take_up(open_session(), WORK) == []


def test_a_file_with_a_wrong_bit_is_left_aside() -> None:
    recovered()
    content = bytearray(the_file().read_bytes())
    content[-5] ^= 1
    the_file().write_bytes(content)
    assert "its checksum is wrong" in refused(open_session())


def test_weights_that_were_trained_on_are_not_those(folder: Path) -> None:
    recovered()
    write_files(seed=1)
    assert "the weights of net.py:make aren't those that they were made from" in refused(open_session())


def test_numbers_that_are_none_are_not_taken_up() -> None:
    recovered()
    rewritten(lambda checkpoint: checkpoint.tensors["head.weight"].view(-1)[3:4].fill_(float("nan")))
    assert "head.weight isn't finite" in refused(open_session())


def test_what_isnt_finite_by_design_is_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    causal = NET.replace(
        "        self.register_buffer(",
        """        self.register_buffer("mask", torch.full((4, 4), -torch.inf).triu(1))
        self.register_buffer(""",
    )
    causal = causal.replace("return self.head(", "return self.attend(self.head(").replace("(2, 3)))", "(2, 3))))")
    causal = causal.replace(
        "def make",
        """    def attend(self, scores):
        return (scores.unsqueeze(1) + self.mask).softmax(-1).sum(1)

def make""",
    )
    monkeypatch.setattr(sys.modules[__name__], "NET", causal)
    write_files()
    before, session = recovered(), open_session()
    assert take_up(session, WORK) == []
    assert same(values(session), values(before))
    assert session.recovered.model.mask.isinf().sum() == 6
    rewritten(lambda checkpoint: checkpoint.tensors["mask"][3, 0].fill_(-torch.inf))
    assert "mask isn't finite" in refused(open_session())


def test_sizes_that_no_module_has_are_another_cut() -> None:
    recovered()
    checkpoint = read_checkpoint(the_file())
    first, *others = checkpoint.edits
    kept_weights.fill(the_file(), replace(checkpoint, edits=(replace(first, value=[8]), *others)))
    assert "its modules have other sizes" in refused(open_session())


def test_an_accuracy_that_is_no_number_is_not_known() -> None:
    before = recovered()
    rewritten(lambda checkpoint: checkpoint.report["accuracy"].update(before=10**400))
    session = open_session()
    assert take_up(session, WORK) == []
    assert same(values(session), values(before))
    assert session.recovered.report.accuracy is None


def test_a_way_of_recovering_that_is_no_word_is_refused() -> None:
    recovered()
    rewritten(lambda checkpoint: checkpoint.report.update(recovered=[["recalibrated"]]))
    assert "they don't say how they were recovered" in refused(open_session())


def test_other_channels_are_another_cut() -> None:
    recovered()
    rewritten(lambda checkpoint: checkpoint.kept["first.weight/0"].copy_(torch.arange(8)))
    assert "other channels of first.weight stay now" in refused(open_session())


def test_other_shapes_are_another_cut() -> None:
    recovered()
    rewritten(lambda checkpoint: checkpoint.tensors.update({"head.weight": torch.zeros(4, 7)}))
    assert "head.weight has the shape (4, 7) there and (4, 8) here" in refused(open_session())


def test_a_network_that_runs_otherwise_now_is_noticed() -> None:
    recovered()
    Path("net.py").write_text(Path("net.py").read_text().replace("torch.relu(self.norm", "torch.tanh(self.norm"))
    assert "puts out other numbers" in refused(open_session())


def test_by_another_task_nothing_is_known_of_its_accuracy() -> None:
    before = recovered()
    write_files(last="2.75")
    session = open_session()
    assert take_up(session, WORK) == []
    assert same(values(session), values(before))
    assert session.recovered.report.accuracy is None
    assert session.figures(session.recipe).recovered is None


def test_one_that_cant_be_taken_up_doesnt_stop_the_others() -> None:
    recovered(ratio=0.25)
    path = the_file()
    recovered()
    path.write_bytes(b"")
    session = open_session()
    assert len(take_up(session, WORK)) == 1
    assert session.recovered is not None


def test_where_memory_is_short_the_file_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    recovered(ratio=0.25)
    recovered()
    session, takes_up = open_session(), Session.take_up

    def fail_once(checkpoint: Checkpoint, progress: object) -> Result:
        monkeypatch.setattr(session, "take_up", lambda *rest: takes_up(session, *rest))
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    def fail(progress: object) -> Result:
        raise MemoryError

    paths = set(recovered_files.files_of(key(REQUEST)))
    monkeypatch.setattr(session, "take_up", fail_once)
    monkeypatch.setattr(session, "cut", fail)
    (sentence,) = take_up(session, WORK)
    assert "can't be taken up now: OutOfMemoryError: CUDA out of memory. They stay in" in sentence
    assert session.recovered is not None
    assert set(recovered_files.files_of(key(REQUEST))) == paths
    assert take_up(open_session(), WORK) == []


def test_stopping_it_leaves_all_files() -> None:
    def stop(stage: str, done: float) -> None:
        raise Cancelled

    recovered()
    with pytest.raises(Cancelled):
        take_up(open_session(), WORK, stop)
    assert the_file().is_file()


# While it is fine-tuned


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetuning, "REST", 0.0)
    monkeypatch.setattr(finetuning, "SHARE", float("inf"))


def test_the_best_so_far_is_on_the_disk_while_it_trains(often: None) -> None:
    session, seen = open_session(), []
    kept(session)

    def look(point: object) -> None:
        """As another session would that goes on after a crash."""
        finish(30)
        other = open_session()
        said = take_up(other, WORK)
        report = other.recovered.report
        seen.append((said, report.recovered, report.accuracy.recovered, other.recovered.model.head.bias[0].item()))

    session.recover(finetune=True, shown=look)
    both = ("recalibrated", "fine-tuned")
    # What a point reports is handed over right after it was shown.
    assert seen[0][:2] == ([], ("recalibrated",))
    assert seen[1:] == [([], both, 1.0, 1.0), ([], both, 3.0, 3.0), ([], both, 3.0, 3.0)]


def test_nothing_is_left_of_a_recovery_that_was_given_up(often: None) -> None:
    """One that fails gives its best state; one that ends worse than it began is undone."""
    session = open_session()
    keeper = kept(session)
    session.recover(finetune=False)
    before = values(session)
    Path("task.py").write_text(Path("task.py").read_text().replace("(1.0, 3.0, 2.0, 2.5)", "(-1.0, -2.0, -3.0, -4.0)"))
    session.set_task(Session.open(REQUEST.spec, input_spec=REQUEST.input_spec, task=REQUEST.task).task)
    session.recover(recalibrate=False, finetune=True)
    keeper.settle()
    assert finish(30)
    assert same(values(session), before)
    assert read_checkpoint(the_file()).report["recovered"] == ["recalibrated"]
    other = open_session()
    assert take_up(other, WORK) == []
    assert same(values(other), before)


def test_what_fails_in_keeping_it_doesnt_end_the_training(often: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(found: object) -> None:
        raise RuntimeError("CUDA out of memory")

    session, said = open_session(), []
    monkeypatch.setattr(session, "packed", fail)
    keeper = kept(session, said)
    session.recover(finetune=True)
    assert finish(30)
    assert session.recovered.model.head.bias.tolist() == [3.0] * 4
    assert session.recovered.notes == ("The best network was that of 50 % of the fine-tuning; it is kept.",)
    assert not keeper.has(session.recovered)
    assert "CUDA out of memory" in said[0]


def test_training_is_the_same_whether_it_is_kept_or_not(often: None) -> None:
    Path("task.py").write_text(
        Path("task.py").read_text().replace("fill_(bias)", "copy_(torch.rand(1) + bias).add_(torch.zeros(4))")
    )
    found = []
    for keeps in (True, False):
        session = open_session()
        if keeps:
            kept(session)
        torch.manual_seed(3)
        session.recover(finetune=True)
        found.append(values(session))
    assert same(*found)


# What is let go of


def test_the_latest_four_plans_of_a_network_are_kept(folder: Path) -> None:
    session = open_session()
    keeper = kept(session)
    notes = []
    for ratio in (0.1, 0.2, 0.3, 0.4, 0.5):
        session.set_ratio(ratio)
        notes += session.recover().notes
        keeper.settle()
    assert finish(30)
    assert notes == ["the recovered weights of global ratio 10 % were let go of: 4 plans' are kept."]
    assert len(list(folder.iterdir())) == 4
    other = open_session(0.2)
    assert take_up(other, WORK) == []
    assert other.recovered is not None
    other.set_ratio(0.1)
    assert other.recovered is None


def test_all_together_are_no_larger_than_allowed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovered_files, "MOST_BYTES", 25)
    for number in range(4):
        path = recovered_files.file_of(key(OpenRequest(f"net{number}")), "")
        put(path, b"x" * 10)
    assert len(list(folder.iterdir())) == 2
    put(path, b"x" * 1000)
    assert list(folder.iterdir()) == [path]


def test_what_was_removed_is_not_said_to_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    session = open_session(0.1)
    keeper = kept(session)
    found = []
    for ratio in (0.1, 0.2):
        session.set_ratio(ratio)
        found.append(session.recover())
        keeper.settle()
        assert finish(30)
        assert keeper.has(found[-1])
        monkeypatch.setattr(recovered_files, "MOST_BYTES", the_file().stat().st_size + 10)
    assert [keeper.has(one) for one in found] == [False, True]
    the_file().unlink()
    assert not keeper.has(found[1])


def test_what_waits_to_be_written_is_about_to_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    writes, go_on = recovered_files.write, threading.Event()

    def write_later(*of: Any) -> None:
        assert go_on.wait(30)
        writes(*of)

    monkeypatch.setattr(recovered_files, "write", write_later)
    session = open_session()
    keeper = kept(session)
    found = session.recover()
    keeper.settle()
    try:
        assert not recovered_files.files_of(key(REQUEST))
        assert keeper.has(found)
    finally:
        go_on.set()
    assert finish(30)
    assert the_file().is_file()
    assert keeper.has(found)


class AllLetGo(Outcome):
    """The session holds no recovered network any more, as when others have taken their place."""

    def onto(self, state: State) -> State:
        return replace(state, recoveries=Recoveries())


def let_go(session: Session) -> None:
    session.accept(AllLetGo(session.plan, session.snapshot.evaluation))


@pytest.mark.parametrize("again", [False, True], ids=["a new one", "one that was let go of before"])
def test_what_is_recovered_while_others_are_let_go_of_stays(again: bool) -> None:
    """As a suggestion does, which recovers in a thread and takes only the best."""

    class Racing(Session):
        arrives: Result | None = None

        @property
        def recoveries(self) -> tuple[Result, ...]:
            held, arriving = super().recoveries, self.arrives
            self.arrives = None
            if arriving is not None:
                self.take_recovered(arriving)
            return held

    session = Racing.open(REQUEST.spec, input_spec=REQUEST.input_spec, task=REQUEST.task)
    keeper = kept(session)
    session.set_ratio(0.5)
    keeps = session.keep_recovered
    session.keep_recovered = keeps if again else None
    found = session.recover()
    session.keep_recovered = keeps
    let_go(session)
    assert finish(30)
    session.arrives = found
    for _ in range(2):
        keeper.settle()
        assert finish(30)
        assert the_file().is_file()
        assert keeper.has(found)


def test_what_was_taken_up_goes_with_its_plan() -> None:
    recovered()
    for first in (False, True):
        session = open_session()
        early = kept(session) if first else None
        assert take_up(session, WORK) == []
        keeper = early or kept(session)
        keeper.took_up()
        assert keeper.has(session.recovered)
    let_go(session)
    keeper.settle()
    assert finish(30)
    assert not recovered_files.files_of(key(REQUEST))


def test_they_go_with_the_work_that_they_belong_to(folder: Path) -> None:
    def keep_work(spec: str) -> Path:
        write(SavedWork(OpenRequest(spec), spec, "", 0.0, {}))
        path = recovered_files.file_of(key(OpenRequest(spec)), "")
        put(path, b"weights")
        return path

    first, second = keep_work("nin"), keep_work("resnet18")
    forget(SavedWork(OpenRequest("nin"), "nin", "", 0.0, {}))
    assert not first.exists()
    set_aside(SavedWork(OpenRequest("resnet18"), "resnet18", "", 0.0, {}))
    assert not second.exists()
    assert (folder / "aside" / second.name).read_bytes() == b"weights"
    third = keep_work("resnet34")
    for number in range(MOST):
        write(SavedWork(OpenRequest(f"net{number}"), "", "", 0.0, {}))
    assert not third.exists()


def test_a_disk_without_room_is_a_sentence_and_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = recovered(finetune=False)
    content = the_file().read_bytes()
    monkeypatch.setattr(recovered_files, "free_space", lambda folder: recovered_files.RESERVE + 10)
    said: list[str] = []
    keeper = kept(before, said)
    before.recover(recalibrate=False, finetune=True)
    assert finish(30)
    assert before.recovered.model.head.bias.tolist() == [3.0] * 4
    assert not keeper.has(before.recovered)
    assert len(said) == 1
    assert "has only 100 MB left" in said[0]
    assert the_file().read_bytes() == content


def test_a_write_that_fails_leaves_the_file_as_it_was(folder: Path) -> None:
    def fail(part: Path) -> None:
        part.write_bytes(b"half")
        raise TuiPruneError("no")

    path = recovered_files.file_of(key(REQUEST), "")
    put(path, b"before")
    with pytest.raises(TuiPruneError):
        recovered_files.write(path, 10, fail)
    assert path.read_bytes() == b"before"
    assert list(folder.iterdir()) == [path]
