"""The built-in loop: a cut network learns from the uncut one."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tui_prune
from tui_prune.errors import Cancelled, UsageError
from tui_prune.result import Result
from tui_prune.tasks.evidence import Score
from tui_prune.tasks.task import Task

INPUTS = torch.randn(96, 3, 6, 6, generator=torch.Generator().manual_seed(3))
BATCHES = INPUTS.split(16)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.second, self.head = nn.Conv2d(12, 12, 3, padding=1), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.second(torch.relu(self.norm(self.first(x))))).mean((2, 3)))


@pytest.fixture
def net(one_thread_and_seed: None) -> Net:
    return Net().eval()


@pytest.fixture
def result(net: Net) -> Result:
    return tui_prune.prune(net, INPUTS[:1], ratio=0.5)


def error(net: nn.Module, result: Result) -> float:
    with torch.no_grad():
        wanted = net(INPUTS)
        return float((result.model(INPUTS) - wanted).norm() / wanted.norm())


def trained(result: Result, task: Task, **how: Any) -> Result:
    training = tui_prune.Training(**{"steps": 40, **how})
    return tui_prune.recover(result, task, recalibrate=False, training=training)


def test_it_needs_nothing_but_inputs(net: Net, result: Result) -> None:
    before = [parameter.clone() for parameter in net.parameters()]
    made = tui_prune.recover(result, Task(calibration=lambda: BATCHES), recalibrate=False, finetune=True)
    assert made.report.recovered == ("fine-tuned",)
    assert error(net, made) < error(net, result)
    assert len(made.curve) > 1
    assert all(torch.equal(one, other) for one, other in zip(before, net.parameters(), strict=True))
    assert any(parameter.requires_grad for parameter in made.model.parameters())


def test_labels_count_where_there_are_any(net: Net, result: Result) -> None:
    """Labels that contradict the uncut network are learned as far as they weigh."""
    wrong = [(batch, (net(batch).argmax(1) + 1) % 4) for batch in BATCHES]

    def share(model: nn.Module) -> float:
        with torch.no_grad():
            return sum(float((model(batch).argmax(1) == labels).sum()) for batch, labels in wrong) / len(INPUTS)

    task = Task(evaluate=share, calibration=lambda: wrong)
    followed, labelled = (
        trained(result, task, labels=weight, steps=60, lr=0.02).report.accuracy.recovered for weight in (0.0, 1.0)
    )
    assert labelled > 0.5 > (followed or 0.0)


def test_only_norms_and_biases(result: Result) -> None:
    made = trained(result, Task(calibration=lambda: BATCHES), only="norms", steps=4)
    before, after = dict(result.model.named_parameters()), dict(made.model.named_parameters())
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(before[name].dim() == 1 for name in changed)


def test_the_best_state_by_evaluate_is_kept(net: Net, result: Result) -> None:
    labels = net(INPUTS).argmax(1)
    task = Task(evaluate=lambda model: Score(model(INPUTS).argmax(1) == labels), calibration=lambda: BATCHES)
    made = trained(result, task, optimizer="sgd", lr=0.05)
    assert made.report.accuracy.recovered >= made.report.accuracy.after


def test_a_training_that_makes_it_no_better_on_held_out_inputs_is_undone(net: Net) -> None:
    same = tui_prune.prune(net, INPUTS[:1])
    made = trained(same, Task(calibration=lambda: BATCHES), lr=3.0, optimizer="sgd", steps=8)
    assert made.report.recovered == ()
    assert "no better on inputs that were held out" in made.notes[0]


def test_it_can_be_stopped(result: Result) -> None:
    def progress(stage: str, done: float) -> None:
        if done > 0.6:
            raise Cancelled

    made = tui_prune.recover(
        result, Task(calibration=lambda: BATCHES), recalibrate=False, training=tui_prune.Training(steps=200),
        progress=progress,
    )  # fmt: skip
    assert "was stopped" in made.notes[0]


def test_minutes_end_it(result: Result) -> None:
    seen: list[Any] = []
    task, training = Task(calibration=lambda: BATCHES), tui_prune.Training(minutes=0.002)
    tui_prune.recover(result, task, recalibrate=False, training=training, shown=seen.append)
    assert seen[-1].done == 1.0


def test_a_task_that_has_its_own_loop_can_take_this_one(result: Result) -> None:
    def own(model: nn.Module, progress: Any) -> None:
        raise AssertionError

    assert trained(result, Task(calibration=lambda: BATCHES, finetune=own), steps=2).report.recovered


def test_what_can_not_be_trained_is_a_sentence(result: Result) -> None:
    with pytest.raises(UsageError, match="nor calibration"):
        tui_prune.recover(result, Task(evaluate=lambda model: 1.0), recalibrate=False, finetune=True)
    with pytest.raises(UsageError, match="lr must be above 0"):
        tui_prune.Training(lr=-1)
    with pytest.raises(UsageError, match="has no 'epochs'"):
        tui_prune.Training.of("epochs=3")
    assert tui_prune.Training.of("steps=5,lr=0.1,only=norms") == tui_prune.Training(steps=5, lr=0.1, only="norms")


def test_networks_that_do_something_else_in_train_mode_are_trained_in_eval_mode() -> None:
    class Odd(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)[:, :2] if self.training else super().forward(x)

    torch.manual_seed(0)
    net = Odd().eval()
    result = tui_prune.prune(net, INPUTS[:1], ratio=0.5, lock=("head",))
    made = trained(result, Task(calibration=lambda: BATCHES), steps=30)
    assert error(net, made) < error(net, result)
