"""Recovered networks stay with the plan they were made of, whatever its cut finds out, and the better one stays."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.small_nets import conv
from tui_prune import TuiPruneError
from tui_prune.archives.pruned_file import read_checkpoint
from tui_prune.errors import Cancelled
from tui_prune.loading.open_model import open_model
from tui_prune.session.session import Session
from tui_prune.tasks.task import Task


class Plain(nn.Module):
    """Its task is to have a large bias."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm, self.c = conv(3, 16), conv(16, 16), nn.BatchNorm2d(16), conv(16, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.b(self.a(x).relu())).relu()
        return self.head(self.c(x).relu().mean((2, 3)))


class ByItsWidth(Plain):
    """Its code reads a width, so that a cut finds a layer that has to stay."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        x = self.norm(self.b(x + x.shape[1] * 0.05)).relu()
        return self.head(self.c(x).relu().mean((2, 3)))


def evaluate(model: nn.Module) -> float:
    return float(model.head.bias.detach()[0])


def finetune(model: nn.Module, progress: Callable[..., Any]) -> None:
    with torch.no_grad():
        model.head.bias[0] += 1.0
    model(torch.zeros(2, 3, 8, 8))
    progress(1.0)


TASK = Task(None, evaluate, lambda: [torch.randn(4, 3, 8, 8)], finetune, None)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield


def session_on(kind: type[nn.Module], task: Task = TASK) -> Session:
    torch.manual_seed(0)
    return Session(open_model(model=kind().eval(), input_spec="1,3,8,8"), task=task, probing=False)


def suggested(session: Session, **choices: Any) -> Any:
    return session.suggest(target_macs=0.5, finalists=2, ratios=(0.25, 0.5), **choices)


def test_the_winner_is_recovered_where_its_cut_finds_a_layer_that_has_to_stay() -> None:
    session = session_on(ByItsWidth)
    session.apply(suggested(session))
    assert session.recovered is not None
    assert session.result() is session.recovered
    first = session.recovered.report.accuracy.recovered
    again = session.recover(recalibrate=False, finetune=True)
    assert again.report.accuracy.recovered == pytest.approx(first + 1), "it goes on from there"


def test_what_is_taken_up_for_another_step_is_there_when_that_is_chosen(tmp_path: Path) -> None:
    session = session_on(ByItsWidth)
    session.set_ratio(0.5)
    kept = session.packed(session.recover(finetune=True))
    other = session_on(ByItsWidth)
    other.restore(session.state())
    other.undo()
    other.take_up(kept)
    other.redo()
    assert other.recovered is not None
    assert "fine-tuned" in read_checkpoint(other.save(tmp_path / "out.pt")).report["recovered"]


def test_suggesting_again_keeps_what_was_trained_for_longer() -> None:
    session = session_on(Plain)
    session.apply(suggested(session))
    for _ in range(3):
        best = session.recover(recalibrate=False, finetune=True)
    told: list[Any] = []
    session.keep_recovered = told.append
    assert suggested(session) == session.recipe
    assert session.recovered is best
    assert told == []


@pytest.mark.parametrize("fails", [1, 2])
def test_a_finalist_that_cannot_be_trained_loses_no_other(fails: int) -> None:
    runs = []

    def sometimes(model: nn.Module, progress: Callable[..., Any]) -> None:
        runs.append(model)
        if len(runs) == fails:
            progress(0.3, loss=float("nan"))
        finetune(model, progress)

    session = session_on(Plain, replace(TASK, finetune=sometimes, calibration=None))
    session.apply(suggested(session))
    assert len(runs) == 2
    assert session.recovered.report.recovered == ("fine-tuned",)


def test_finalists_that_are_finished_stay_when_the_others_are_stopped() -> None:
    stopped = []

    def stop(stage: str, done: float) -> None:
        if stopped:
            raise Cancelled

    def twice(model: nn.Module, progress: Callable[..., Any]) -> None:
        if runs:
            stopped.append(True)
        runs.append(model)
        finetune(model, progress)

    runs: list[nn.Module] = []
    session = session_on(Plain, replace(TASK, finetune=twice))
    with pytest.raises((Cancelled, TuiPruneError)):
        suggested(session, progress=stop)
    assert len(session.recoveries) == 1
    stopped.clear()
    session.apply(suggested(session))
    assert len(runs) == 3, "the first one isn't trained once more"


def test_infinite_numbers_that_were_there_before_hinder_no_training() -> None:
    class Masked(Plain):
        """As attention keeps which places it mustn't see."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.full((4, 4), float("-inf")).triu(1))

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + self.mask.softmax(-1).sum() * 0

    session = session_on(Masked)
    session.set_ratio(0.5)
    assert session.recover(finetune=True, recalibrate=False).report.recovered == ("fine-tuned",)
