"""Fine-tuning in two processes: averaged gradients, a process that dies, a loop that has its own way to share work."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tui_prune.errors import UsageError
from tui_prune.recovery.distillation import Training
from tui_prune.recovery.peers import Peers
from tui_prune.session.ranks import Launch, _Reporter
from tui_prune.session.session import Session
from tui_prune.workers.ranks import Ranks

NET = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""
TASK = """
import os, signal, time
from pathlib import Path

import torch
from torch.nn import functional as F

HERE = Path(__file__).parent
IMAGES = torch.randn(32, 3, 4, 4, generator=torch.Generator().manual_seed(1))

def evaluate(model):
    with torch.no_grad():
        return float(model(IMAGES).mean())
"""
AS_GOOD = "\n\ndef evaluate(model):\n    return 1\n"
ONE_BATCH = f"{AS_GOOD}\ndef calibration():\n    return [(IMAGES, None)]\n"
TWO_BATCHES = f"{AS_GOOD}\ndef calibration():\n    return [(half, None) for half in IMAGES.chunk(2)]\n"
DYING = """
def finetune(model, progress):
    if os.environ["RANK"] == "1":
        while not (HERE / "told").exists():
            time.sleep(0.01)
        print("its last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    with torch.no_grad():
        model[2].bias += 1
    progress(0.5, loss=2, accuracy=0.9)
    with torch.no_grad():
        model[2].bias -= 2
    progress(0.6, accuracy=0.1)
    (HERE / "told").touch()
    time.sleep(60)
"""
ACCELERATED = """
def finetune(model, progress):
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    assert accelerator.num_processes == 2
    data = torch.utils.data.DataLoader(IMAGES, batch_size=4)
    own, optimizer, data = accelerator.prepare(model, torch.optim.SGD(model.parameters(), 0.1), data)
    assert len(data) == 4  # half of the batches
    for batch in data:
        optimizer.zero_grad()
        accelerator.backward(-own(batch).mean())
        optimizer.step()
        progress(0.5, accuracy=evaluate(model))
"""


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Session]:
    """The network, whose task has this code, too."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "net.py").write_text(NET)

    def session(code: str) -> Session:
        torch.manual_seed(0)
        (tmp_path / "task.py").write_text(TASK + code)
        session = Session.open(f"{tmp_path / 'net.py'}:make", input_spec="1,3,4,4", task=tmp_path / "task.py")
        session.set_ratio(0.5)
        return session

    return session


def test_two_processes_do_what_one_does_with_batches_of_twice_the_size(opened: Callable[[str], Session]) -> None:
    one, two = opened(ONE_BATCH), opened(TWO_BATCHES)
    how = {"recalibrate": False, "finetune": True}
    alone = one.recover(**how, training=Training(steps=1, lr=0.1, warmup=0, optimizer="sgd"))
    together = two.recover(**how, training=Training(steps=2, lr=0.1, warmup=0, optimizer="sgd"), procs=2)
    assert not together.notes and together.report.recovered == alone.report.recovered
    for name, tensor in together.model.state_dict().items():
        torch.testing.assert_close(tensor, alone.model.state_dict()[name])


def test_the_best_state_outlives_a_process_that_dies(opened: Callable[[str], Session]) -> None:
    session = opened(DYING)
    cut = session.result().model
    found = session.recover(recalibrate=False, finetune=True, procs=2)
    assert found.report.recovered == ("fine-tuned",)
    torch.testing.assert_close(found.model[2].bias, cut[2].bias + 1)
    (note,) = found.notes
    assert note.startswith("Process 2 of 2 ended by itself (status -9; its last words). The best network up to then")


@pytest.mark.libraries
def test_a_loop_with_accelerate_works_unchanged(opened: Callable[[str], Session]) -> None:
    pytest.importorskip("accelerate")
    found = opened(ACCELERATED).recover(recalibrate=False, finetune=True, procs=2)
    assert found.report.recovered == ("fine-tuned",) and not found.notes and len(found.curve) == 4


def test_each_process_has_its_share_of_the_batches() -> None:
    second = Peers()
    second.rank, second.count = 1, 3
    assert list(second.own(range(8))) == [1, 4, 7]


def test_what_rank_0_says_is_taken_in_and_processes_that_train_apart_are_told_of(
    opened: Callable[[str], Session],
) -> None:
    session = opened(ONE_BATCH)
    result = session.cut()

    class Said:
        count = 3

        def messages(self, setup: Any, waiting: Callable[[], object]) -> Iterator[Any]:
            said: list[Any] = []
            other = copy.deepcopy(result.model)
            reporter = _Reporter(other, session.task, said.append)
            for done, bias in ((0.0, 1.0), (0.01, 2.0), (0.5, 3.0)):
                torch.nn.init.constant_(other[2].bias, bias)
                reporter.report(done, loss=torch.tensor(bias))
            reporter.end()
            assert [one["state"] is not None for one in said] == [True, False, True, True]  # not at each step
            yield from said

    launch, seen = Launch(Said(), session.task, None, session.opened.module, session.request), []
    trained = copy.deepcopy(result.model)

    def report(done: float, loss: float, accuracy: Any) -> None:
        seen.append((done, loss, float(trained[2].bias.detach()[0])))

    launch.loop(result, lambda stage, done: None)(trained, report)
    assert seen == [(0.0, 1.0, 1.0), (0.01, 2.0, 1.0), (0.5, 3.0, 3.0)]
    (note,) = launch.notes
    assert note.startswith("finetune() of task.py didn't use torch.distributed, so each of the 3 processes trained")


def test_what_other_processes_cannot_make_is_a_sentence(opened: Callable[[str], Session]) -> None:
    session = opened(ONE_BATCH)
    result = session.cut()
    result.model.weird = lambda: None
    launch = Launch(Ranks(2), session.task, None, session.opened.module)
    with pytest.raises(UsageError, match="define them in a module of your own, or leave procs out"):
        launch.loop(result, lambda stage, done: None)(result.model, print)
