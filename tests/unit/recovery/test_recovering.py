"""Recovering after a cut: batch norm, fine-tuning, and the checkpoint that comes of it."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tui_prune
from tui_prune.errors import Cancelled, TuiPruneError, UsageError
from tui_prune.loading.open_model import open_model
from tui_prune.planning.recipe import Recipe
from tui_prune.report import tables
from tui_prune.result import Result, Stage, TuningPoint
from tui_prune.saving.checkpoint import read_checkpoint, verify_checkpoint
from tui_prune.session.session import Session
from tui_prune.tasks.task import Task

IMAGES = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 + 1
BATCHES = IMAGES.split(16)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 1)
        self.norm, self.unused = nn.BatchNorm2d(16), nn.BatchNorm2d(4)
        self.unused.running_mean.fill_(2.0)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(16, 4)
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 16).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(self.second(torch.relu(self.first(x)) * self.scale))
        return self.head(torch.relu(self.norm(x)).mean((2, 3)))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def result(net: Net) -> Result:
    return tui_prune.prune(net, IMAGES[:1], ratio=0.5)


def outputs(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(IMAGES)


def values(model: nn.Module) -> dict[str, Tensor]:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def changed(before: dict[str, Tensor], model: nn.Module) -> set[str]:
    return {name for name, tensor in values(model).items() if not torch.equal(before[name], tensor)}


# Recalibration


def test_statistics_are_averages_over_the_calibration_data(net: Net, result: Result) -> None:
    before, original = values(result.model), values(net)
    with torch.no_grad():
        cut = result.model
        seen = [cut.second(torch.relu(cut.first(batch)) * cut.scale) for batch in BATCHES]
    recovered = tui_prune.recover(result, Task(calibration=lambda: BATCHES))
    mean = torch.stack([values.mean((0, 2, 3)) for values in seen]).mean(0)
    variance = torch.stack([values.transpose(0, 1).flatten(1).var(1) for values in seen]).mean(0)
    assert torch.allclose(recovered.model.norm.running_mean, mean, atol=1e-5)
    assert torch.allclose(recovered.model.norm.running_var, variance, rtol=1e-4)
    assert changed(before, recovered.model) == {
        "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"
    }  # fmt: skip
    assert (recovered.model.norm.momentum, recovered.model.norm.training) == (0.1, False)
    assert recovered.report.recovered == ("recalibrated",)
    assert not changed(before, result.model)
    assert not changed(original, net)
    assert result.report.recovered == ()


@pytest.mark.parametrize(
    "calibration",
    [
        lambda: [(batch, torch.zeros(16)) for batch in BATCHES],
        lambda: [{"x": batch} for batch in BATCHES],
        lambda: iter([(batch,) for batch in BATCHES]),
    ],
    ids=["pairs", "keywords", "arguments"],
)
def test_calibration_data_comes_in_many_forms(result: Result, calibration: Callable[[], Any]) -> None:
    recovered = tui_prune.recover(result, Task(calibration=calibration))
    expected = tui_prune.recover(result, Task(calibration=lambda: BATCHES))
    assert torch.equal(recovered.model.norm.running_var, expected.model.norm.running_var)


def test_calibration_data_may_go_on_for_ever(result: Result) -> None:
    def calibration() -> Iterator[Tensor]:
        while True:
            yield BATCHES[0]

    assert tui_prune.recover(result, Task(calibration=calibration)).report.recovered == ("recalibrated",)


@pytest.mark.parametrize(
    ("calibration", "sentence"),
    [
        (None, "the task has no function calibration"),
        (lambda: [], "yields nothing"),
        (lambda: [1 / 0], "ZeroDivisionError"),
        (lambda: [torch.zeros(2, 5, 8, 8)], "forward pass fails on a batch of calibration"),
        (lambda: [torch.full((2, 3, 8, 8), float("nan"))], "aren't finite"),
    ],
)
def test_calibration_data_that_is_no_good(result: Result, calibration: Any, sentence: str) -> None:
    before = values(result.model)
    with pytest.raises(TuiPruneError, match=sentence):
        tui_prune.recover(result, Task(calibration=calibration))
    assert not changed(before, result.model)


def test_single_inputs_are_no_batch() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)).eval()
    result = tui_prune.prune(net, torch.randn(1, 4), ratio=0.5)
    with pytest.raises(TuiPruneError, match="Batch norm needs several inputs in each batch"):
        tui_prune.recover(result, Task(calibration=lambda: [torch.randn(1, 4)]))


def test_a_network_without_batch_norm_says_so() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1)).eval()
    result = tui_prune.prune(net, IMAGES[:1], ratio=0.5)
    recovered = tui_prune.recover(result, Task(calibration=lambda: BATCHES))
    assert recovered.report.recovered == ()
    assert "no batch norm with running statistics" in recovered.notes[0]
    assert recovered.model is result.model


def test_recalibration_that_makes_it_worse_is_undone(result: Result) -> None:
    task = Task(calibration=lambda: BATCHES, evaluate=lambda model: -float((model.norm.running_mean - 0).abs().sum()))
    recovered = tui_prune.recover(result, task)
    assert recovered.report.recovered == ()
    assert "made it worse" in recovered.notes[0]
    assert torch.equal(outputs(recovered.model), outputs(result.model))


# Fine-tuning: a loop that counts up the head's bias, and is the better the nearer it comes to 5


def step_by_step(
    steps: int = 10, *, accuracy: Callable[[nn.Module], float] | None = None, loss: Callable[[int], Any] = float
) -> Callable[..., None]:
    def finetune(model: nn.Module, progress: Callable[..., None]) -> None:
        with torch.no_grad():
            model.head.bias.zero_()
            for step in range(1, steps + 1):
                model(IMAGES[:2])
                model.head.bias += 1
                progress(step / steps, loss=loss(step), accuracy=accuracy(model) if accuracy else None)

    return finetune


def near_five(model: nn.Module) -> float:
    return -abs(float(model.head.bias[0].detach()) - 5)


def tuned(result: Result, **settings: Any) -> Result:
    progress = settings.pop("progress", lambda stage, done: None)
    shown = settings.pop("shown", None)
    return tui_prune.recover(result, Task(**settings), recalibrate=False, finetune=True, progress=progress, shown=shown)


def bias(result: Result) -> float:
    (value,) = set(result.model.head.bias.tolist())
    return value


def test_the_loop_trains_a_copy_and_its_curve_is_kept(net: Net, result: Result) -> None:
    before, original = values(result.model), values(net)
    shown: list[TuningPoint] = []
    recovered = tuned(result, finetune=step_by_step(4), shown=shown.append)
    assert bias(recovered) == 4
    assert recovered.curve == tuple(shown) == tuple(TuningPoint(n / 4, float(n), None) for n in range(1, 5))
    assert recovered.report.recovered == ("fine-tuned",)
    assert recovered.notes == ()
    assert not recovered.model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in recovered.model.parameters())
    assert not changed(before, result.model)
    assert not changed(original, net)


def test_training_works_as_usual(result: Result) -> None:
    seen: list[bool] = []

    def finetune(model: nn.Module, progress: Callable[..., None]) -> None:
        seen.append(model.training and model.norm.training)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step, batch in enumerate(BATCHES, 1):
            loss = model(batch).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            progress(step / 4, loss=loss)

    recovered = tuned(result, finetune=finetune)
    assert seen == [True]
    assert outputs(recovered.model).square().mean() < outputs(result.model).square().mean()
    assert [type(point.loss) for point in recovered.curve] == [float] * 4


@pytest.mark.parametrize("settings", [{"accuracy": near_five}, {}], ids=["reported", "evaluated"])
def test_the_best_state_is_kept_and_not_the_last(result: Result, settings: dict[str, Any]) -> None:
    finetune = step_by_step(8, **settings)
    recovered = tuned(result, finetune=finetune, evaluate=near_five)
    assert bias(recovered) == 5
    assert "62 %" in recovered.notes[0]
    assert recovered.report.accuracy.recovered == 0
    assert [point.accuracy for point in recovered.curve if point.accuracy is not None][4] == 0
    without_evaluate = tuned(result, finetune=step_by_step(8, accuracy=near_five))
    assert bias(without_evaluate) == 5
    assert without_evaluate.report.accuracy is None


def test_the_loops_own_accuracy_is_another_scale_than_evaluate(result: Result) -> None:
    def finetune(model: nn.Module, progress: Callable[..., None]) -> None:
        with torch.no_grad():
            model.head.bias.fill_(5)
            progress(0.3)  # evaluate is asked: 0, the best there is
            model.head.bias.fill_(4)
            progress(0.6, accuracy=-70)
            model.head.bias.fill_(3)
            progress(0.9, accuracy=-90)

    recovered = tuned(result, finetune=finetune, evaluate=near_five)
    assert bias(recovered) == 4
    assert recovered.report.accuracy.recovered == -1


def test_an_evaluation_in_the_end_that_fails_loses_nothing(result: Result) -> None:
    def evaluate(model: nn.Module) -> float:
        return 1 / 0 if model.head.bias[0] == 3 else -100

    recovered = tuned(result, finetune=step_by_step(3), evaluate=evaluate)
    assert bias(recovered) in (2, 3)
    assert "ZeroDivisionError" in recovered.notes[0]


def test_evaluations_on_the_way_see_the_network_in_eval_mode(result: Result) -> None:
    seen: list[bool] = []

    def evaluate(model: nn.Module) -> float:
        seen.append(model.training or model.norm.training)
        return near_five(model)

    def finetune(model: nn.Module, progress: Callable[..., None]) -> None:
        step_by_step(8)(model, progress)
        assert model.training and model.norm.training

    assert bias(tuned(result, finetune=finetune, evaluate=evaluate)) == 5
    assert len(seen) > 7
    assert not any(seen)


def test_what_watches_the_loop_is_not_copied_with_the_network(result: Result) -> None:
    copied = 0

    class Watcher:
        def __deepcopy__(self, memo: Any) -> Any:
            nonlocal copied
            copied += 1
            return self

        def progress(self, stage: str, done: float) -> None: ...

    tuned(result, finetune=step_by_step(8), evaluate=near_five, progress=Watcher().progress)
    assert copied == 0


def test_without_a_judge_the_last_state_counts(result: Result) -> None:
    assert bias(tuned(result, finetune=step_by_step(7, loss=lambda step: None))) == 7


def test_what_makes_it_worse_is_undone(result: Result) -> None:
    recovered = tuned(
        result, finetune=step_by_step(3), evaluate=lambda model: -float(model.head.bias.detach().abs().sum())
    )
    assert recovered.report.recovered == ()
    assert "made it worse" in recovered.notes[0]
    assert torch.equal(outputs(recovered.model), outputs(result.model))


def test_what_is_undone_is_said_once_and_in_per_cent(result: Result) -> None:
    was = outputs(result.model)
    task = Task(evaluate=lambda model: 0.9978 if torch.equal(outputs(model), was) else 0.9956, finetune=step_by_step(3))
    once = tui_prune.recover(result, task, recalibrate=False, finetune=True)
    twice = tui_prune.recover(once, task, recalibrate=False, finetune=True)
    assert once.notes == twice.notes == ("Fine-tuning made it worse (99.6 %, 99.8 % before), so it was undone.",)


def stopping_at(share: float) -> Callable[[str, float], None]:
    def progress(stage: str, done: float) -> None:
        if stage == "fine-tune" and done >= share:
            raise Cancelled

    return progress


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"finetune": step_by_step(10)}, 8),
        ({"finetune": step_by_step(10, accuracy=near_five)}, 5),
        ({"finetune": step_by_step(8), "evaluate": near_five}, 5),
    ],
    ids=["no judge", "reported", "evaluated"],
)
def test_cancelling_keeps_the_best_so_far(result: Result, settings: dict[str, Any], kept: int) -> None:
    recovered = tuned(result, progress=stopping_at(0.82), **settings)
    assert bias(recovered) == kept
    assert recovered.notes[0].startswith("Fine-tuning was stopped at ")
    assert recovered.report.recovered == ("fine-tuned",)


def test_a_loop_that_never_ends_and_never_reports_is_stopped(result: Result) -> None:
    passes = 0

    def finetune(model: nn.Module, progress: Callable[..., None]) -> None:
        nonlocal passes
        while True:
            passes += 1
            with suppress(Exception):  # a user's code may swallow anything
                model(IMAGES[:2])

    def progress(stage: str, done: float) -> None:
        if passes == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        tuned(result, finetune=finetune, evaluate=near_five, progress=progress)
    assert passes == 6


def test_a_loop_that_fails_keeps_the_best_so_far(result: Result) -> None:
    def finetune(model: nn.Module, progress: Callable[..., None]) -> None:
        step_by_step(4)(model, lambda done, **_: progress(done / 2))
        raise ValueError("no more data")

    recovered = tuned(result, finetune=finetune)
    assert bias(recovered) == 4
    assert "ValueError: no more data" in recovered.notes[0]
    assert 'raise ValueError("no more data")' in recovered.traceback
    with pytest.raises(TuiPruneError, match="ValueError: no more data"):
        tuned(result, finetune=finetune, evaluate=lambda model: -float(model.head.bias.detach().abs().sum()))


def test_a_loss_that_is_no_number_ends_it(result: Result) -> None:
    def loss(step: int) -> float:
        return float("nan") if step > 3 else 1.0

    recovered = tuned(result, finetune=step_by_step(10, loss=loss))
    assert bias(recovered) == 3
    assert "a loss of nan at 40 %: lower its learning rate" in recovered.notes[0]
    with pytest.raises(TuiPruneError, match="a loss of nan at 100 %"):
        tuned(result, finetune=step_by_step(1, loss=lambda step: float("nan")))


def test_weights_that_are_no_numbers_are_not_kept(result: Result) -> None:
    def finetune(model: nn.Module, progress: Callable[..., None]) -> None:
        with torch.no_grad():
            model.head.weight.fill_(float("inf"))

    with pytest.raises(TuiPruneError, match="weights that aren't finite"):
        tuned(result, finetune=finetune)


def test_a_loop_may_only_train(result: Result) -> None:
    def finetune(model: nn.Module, progress: Callable[..., None]) -> None:
        model.head = nn.Linear(8, 7)

    with pytest.raises(TuiPruneError, match=r"has changed the network itself \(head"):
        tuned(result, finetune=finetune)


@pytest.mark.parametrize("arguments", [("fine-tune", 0.5), (2,), (None,), (-1,)])
def test_progress_called_wrongly(result: Result, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TuiPruneError, match=r"should call progress\(done, loss=None, accuracy=None\)"):
        tuned(result, finetune=lambda model, progress: progress(*arguments))


def test_what_the_loop_leaves_on_the_network_is_gone(result: Result) -> None:
    def finetune(model: nn.Module, progress: Callable[..., None]) -> None:
        model.register_forward_hook(lambda *_: 1 / 0)
        model.head.weight.requires_grad_(False)
        model.double()
        model.head.bias.data.fill_(3)

    recovered = tuned(result, finetune=finetune)
    assert bias(recovered) == 3
    assert outputs(recovered.model).dtype == torch.float32
    assert recovered.model.head.weight.requires_grad


# Batch norm after fine-tuning: its statistics lag behind what the loop has learned


def shifted_and_settled(model: nn.Module) -> float:
    """The higher the larger the biases, and the nearer the running mean is to that of the images."""
    with torch.no_grad():
        arriving = model.second(torch.relu(model.first(IMAGES)) * model.scale)
        return float(model.second.bias.sum() - 10 * (model.norm.running_mean - arriving.mean((0, 2, 3))).abs().sum())


def shift(model: nn.Module, progress: Callable[..., None]) -> None:
    with torch.no_grad():
        model.second.bias += 3


BOTH_AND_AGAIN = ("recalibrated", "fine-tuned", "recalibrated")


def test_batch_norm_is_recalibrated_once_more_after_fine_tuning(result: Result) -> None:
    task = Task(calibration=lambda: BATCHES, finetune=shift, evaluate=shifted_and_settled)
    recovered = tui_prune.recover(result, task, recalibrate=True, finetune=True)
    assert recovered.report.recovered == BOTH_AND_AGAIN
    assert torch.equal(recovered.model.second.bias, result.model.second.bias + 3)
    assert recovered.report.accuracy.recovered == shifted_and_settled(recovered.model)
    assert recovered.report.accuracy.recovered == pytest.approx(recovered.model.second.bias.sum().item(), abs=1e-2)
    lines = "\n".join(tables.report_lines(recovered.report.to_dict(), {}))
    assert "its weights were recalibrated, fine-tuned and recalibrated." in lines
    unjudged = tui_prune.recover(result, Task(calibration=lambda: BATCHES, finetune=shift), finetune=True)
    assert unjudged.report.recovered == ("recalibrated", "fine-tuned")


def test_what_was_recalibrated_before_is_so_after_fine_tuning_too(net: Net) -> None:
    task = Task(calibration=lambda: BATCHES, finetune=shift, evaluate=shifted_and_settled)
    session = Session(open_model(model=net, input_spec="1,3,8,8"), recipe=Recipe(ratio=0.5), task=task)
    session.recover()
    reached: list[Stage] = []
    result = session.recover(recalibrate=False, finetune=True, reached=reached.append)
    assert result.report.recovered == BOTH_AND_AGAIN
    assert [(stage.name, stage.kept) for stage in reached[-2:]] == [("fine-tuned", True), ("recalibrated", True)]
    assert reached[-2].score < reached[-1].score == result.report.accuracy.recovered


def test_fine_tuning_alone_leaves_the_statistics_to_the_loop(result: Result) -> None:
    with_more = {"calibration": lambda: BATCHES, "evaluate": lambda model: float(model.second.bias.detach().sum())}
    assert tuned(result, finetune=shift, **with_more).report.recovered == ("fine-tuned",)


@pytest.mark.parametrize("error", [Cancelled, ValueError])
def test_a_recalibration_in_the_end_that_fails_loses_nothing(result: Result, error: type[Exception]) -> None:
    asked = 0

    def calibration() -> Iterator[Tensor]:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise error("no more data")
        yield from BATCHES

    task = Task(calibration=calibration, finetune=step_by_step(3), evaluate=near_five)
    recovered = tui_prune.recover(result, task, recalibrate=True, finetune=True)
    assert recovered.report.recovered == ("recalibrated", "fine-tuned")
    assert bias(recovered) == 3
    assert "Batch norm wasn't recalibrated after the fine-tuning." in recovered.notes[-1]


# The session and the checkpoint


@pytest.fixture
def work(net: Net) -> Session:
    task = Task(calibration=lambda: BATCHES, finetune=step_by_step(3), evaluate=near_five)
    session = Session(Session.open(model=net, input_spec="1,3,8,8").opened, task=task)
    session.set_ratio(0.5)
    return session


def test_a_recovered_network_is_saved_and_verified_against_itself(work: Session, tmp_path: Path) -> None:
    cut = work.cut()
    recovered = work.recover(recalibrate=True, finetune=True)
    assert recovered.report.recovered == ("recalibrated", "fine-tuned")
    assert recovered.report.equivalence == cut.report.equivalence  # verified right after the cut
    assert work.cut() is cut
    path = work.save(tmp_path / "out.pt")
    checkpoint = read_checkpoint(path)
    assert checkpoint.probe.reference == "cut network"
    assert checkpoint.report["recovered"] == ["recalibrated", "fine-tuned"]
    assert set(checkpoint.report["accuracy"]) == {"before", "after", "recovered"}
    loaded = tui_prune.load(path, model=Net())
    assert torch.equal(outputs(loaded), outputs(recovered.model))
    assert loaded.head.bias.tolist() == [3.0] * 4
    report = verify_checkpoint(path, Net())
    assert report.ok
    content = torch.load(path, weights_only=True)
    content["tensors"]["norm.running_mean"] += 1
    del content["checksum"]
    torch.save({**content, "checksum": tui_prune.archives.pruned_file.checksum(content)}, path)
    assert not verify_checkpoint(path, Net()).ok


def test_what_a_checkpoint_does_not_hold_stays_as_it_was_cut(result: Result, tmp_path: Path) -> None:
    def finetune(model: nn.Module, progress: Callable[..., None]) -> None:
        model.scale.fill_(100)  # no state dict has it
        model.head.bias.data.fill_(3)

    recovered = tuned(result, finetune=finetune)
    assert torch.equal(recovered.model.scale, result.model.scale)
    loaded = tui_prune.load(tui_prune.save(tmp_path / "out.pt", recovered), model=Net())
    assert torch.equal(outputs(loaded), outputs(recovered.model))


def test_another_plan_forgets_it_and_the_same_remembers(work: Session, tmp_path: Path) -> None:
    work.save(tmp_path / "cut.pt")
    assert not work.dirty
    recovered = work.recover()
    assert work.dirty
    work.set_ratio(0.25)
    assert work.recovered is None
    assert work.result().report.recovered == ()
    work.undo()
    assert work.recovered is recovered
    assert work.result() is recovered
    work.save(tmp_path / "recovered.pt")
    assert not work.dirty
    work.save(tmp_path / "again.pt")
    assert read_checkpoint(tmp_path / "again.pt").report["recovered"] == ["recalibrated"]


def test_recovering_goes_on_from_what_was_recovered(work: Session) -> None:
    work.recover(recalibrate=True)
    both = work.recover(recalibrate=False, finetune=True)
    assert both.report.recovered == ("recalibrated", "fine-tuned")
    assert int(both.model.norm.num_batches_tracked) > len(BATCHES)  # the loop went on from the new statistics
    accuracy = work.evaluate()
    assert (accuracy.before, accuracy.after) == (both.report.accuracy.before, both.report.accuracy.after)
    assert accuracy.recovered == both.report.accuracy.recovered == near_five(both.model)


def test_a_failed_recovery_changes_nothing(work: Session, tmp_path: Path) -> None:
    def stop(stage: str, done: float) -> None:
        if stage == "recalibrate":
            raise Cancelled

    with pytest.raises(Cancelled):
        work.recover(stop)
    assert work.recovered is None
    with pytest.raises(UsageError, match="There is nothing to do"):
        work.recover(recalibrate=False)
    work.save(tmp_path / "out.pt")
    assert "recovered" not in read_checkpoint(tmp_path / "out.pt").report


def test_an_accuracy_that_is_known_is_saved(work: Session, tmp_path: Path) -> None:
    work.evaluate()
    work.save(tmp_path / "out.pt")
    assert read_checkpoint(tmp_path / "out.pt").report["accuracy"]["recovered"] is None


# Stages, and a task that comes later


def test_stages_are_told_as_they_are_reached(net: Net) -> None:
    session = Session(open_model(model=net, input_spec="1,3,8,8"), recipe=Recipe(ratio=0.5))
    session.set_task(Task(None, near_five, lambda: BATCHES, step_by_step(8, accuracy=near_five)))
    reached: list[Stage] = []
    shown: list[TuningPoint] = []
    result = session.recover(recalibrate=True, finetune=True, reached=reached.append, shown=shown.append)
    assert [(stage.name, stage.kept) for stage in reached] == [
        ("before", True), ("after", True), ("recalibrated", True), ("fine-tuned", True)
    ]  # fmt: skip
    assert reached[-1].score == result.report.accuracy.recovered == 0
    assert [point.accuracy for point in shown if point.best][-1] == 0
    assert [point.best for point in shown] == [n <= 5 for n in range(1, 9)]


def test_what_was_recalibrated_stays_when_fine_tuning_is_stopped_before_it_is_better(result: Result) -> None:
    recovered = tui_prune.recover(
        result,
        Task(None, lambda model: 0.5, lambda: BATCHES, step_by_step(10)),
        recalibrate=True,
        finetune=True,
        progress=stopping_at(0.0),
    )
    assert recovered.report.recovered == ("recalibrated",)
    assert "The recalibrated network is kept" in recovered.notes[0]


def test_another_task_forgets_what_the_first_has_measured(net: Net) -> None:
    session = Session(open_model(model=net, input_spec="1,3,8,8"), recipe=Recipe(ratio=0.5))
    taylor = session.recipe.changed(criterion="activation")
    with pytest.raises(UsageError, match="calibration data"):
        session.waits_for(taylor)
    session.set_task(Task(None, lambda model: 0.25, lambda: [torch.zeros_like(IMAGES[:16])]))
    assert session.evaluate().before == 0.25
    before = session.apply(taylor)
    recovered = session.recover()
    session.set_task(Task(None, lambda model: 0.75, lambda: BATCHES))
    assert session.recovered.model is recovered.model
    assert session.recovered.report.accuracy is None
    assert session.evaluate().before == 0.75
    assert session.waits_for(taylor)
    session.undo()
    assert (session.redo().keep != before.keep).any()
