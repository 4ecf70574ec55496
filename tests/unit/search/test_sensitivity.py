"""How much each layer can bear: the scan, its memory, and the recipe that follows from it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tui_prune
from tui_prune.errors import Cancelled, TuiPruneError, UsageError
from tui_prune.planning.plan import Plan
from tui_prune.progress import Progress
from tui_prune.search.allocation import Goal
from tui_prune.search.sensitivity import Sensitivity
from tui_prune.search.suggest import suggest
from tui_prune.session.session import Session
from tui_prune.tasks.task import Task, load_task, user_traceback

IMAGES = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Three convolutions of 16 channels, with batch norm; half of the channels of `idle` are zero."""

    def __init__(self) -> None:
        super().__init__()
        self.busy, self.idle, self.last = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 3)
        self.norm = nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 6)
        with torch.no_grad():
            self.idle.weight[::2] = 0
            self.idle.bias[::2] = 0

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.idle(torch.relu(self.busy(x))))
        return self.head(torch.relu(self.norm(self.last(x))).mean((2, 3)))


class Judge:
    """Says how near a network's outputs come to the original's, 1 for the same; notes what cut ones it was shown."""

    def __init__(self, model: nn.Module) -> None:
        self.seen: list[dict[str, int]] = []
        self._outputs = self._run(model)

    def __call__(self, model: nn.Module) -> float:
        layers = dict(model.named_children())
        widths = {name: layers[name].out_channels for name in ("busy", "idle", "last") if name in layers}
        if set(widths.values()) != {16}:
            self.seen.append(widths)
        spread = (self._outputs - self._outputs.mean(0)).abs().mean()
        return float(1 - (self._run(model) - self._outputs).abs().mean() / spread)

    def _run(self, model: nn.Module) -> Tensor:
        with torch.no_grad():
            return model.eval()(IMAGES)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def judge(net: Net) -> Judge:
    return Judge(net)


@pytest.fixture
def task(judge: Judge, tmp_path: Path) -> Task:
    file = tmp_path / "task.py"
    file.write_text("def evaluate(model): ...\n")
    return Task(file, evaluate=judge)


def session(net: nn.Module, task: Task, **recipe: object) -> Session:
    opened = Session.open(model=net, input_spec="1,3,8,8").opened
    return Session(opened, task=task, recipe=tui_prune.Recipe(**recipe))


def test_each_group_is_cut_alone_and_evaluated_as_it_is_cut(net: Net, task: Task, judge: Judge) -> None:
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    found = session(net, task).sensitivity(ratios=(0.5, 0.25))
    assert [curve.layer for curve in found.curves] == ["busy", "idle", "last"]
    assert [[(point.ratio, point.kept) for point in curve.points] for curve in found.curves] == [
        [(0.25, 12), (0.5, 8)]
    ] * 3
    assert judge.seen == [
        {"busy": 16, "idle": 16, "last": 16} | {layer: kept} for layer in ("busy", "idle", "last") for kept in (12, 8)
    ]
    assert (found.baseline, found.reference, found.done) == (1.0, 1.0, 1.0)
    busy, idle, _ = found.curves
    assert [(point.score, point.change) for point in idle.points] == [
        (pytest.approx(1), pytest.approx(0, abs=1e-9))
    ] * 2
    assert all(point.score < 0.9 and point.change > 1e-4 for point in busy.points)
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in before.items())


def test_what_is_known_so_far_is_shown(net: Net, task: Task) -> None:
    shown: list[Sensitivity] = []
    last = session(net, task).sensitivity(ratios=(0.5,), shown=shown.append)
    assert [sum(len(curve.points) for curve in found.curves) for found in shown] == [1, 2, 3]
    assert shown[-1] == last
    assert last.to_dict()["curves"][0]["points"][0]["kept"] == 8


def test_a_scan_that_was_stopped_goes_on_where_it_was(net: Net, task: Task, judge: Judge, state: Path) -> None:
    def stop(stage: str, done: float) -> None:
        if len(judge.seen) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        session(net, task).sensitivity(stop, ratios=(0.5, 0.75))
    assert len(judge.seen) == 2
    again = session(net, task).sensitivity(ratios=(0.5, 0.75))
    assert len(judge.seen) == 7  # only the one that was stopped is evaluated twice
    assert session(net, task).sensitivity(ratios=(0.5, 0.75)) == again
    assert len(judge.seen) == 7
    kept = [path.suffix for path in state.rglob("*") if path.is_file() and path.name[0] != "."]
    assert kept == [".json"]


def test_other_weights_and_another_task_are_measured_anew(net: Net, task: Task, judge: Judge) -> None:
    session(net, task).sensitivity(ratios=(0.5,))
    task.file.write_text("def evaluate(model): return 1\n")
    session(net, task).sensitivity(ratios=(0.5,))
    assert len(judge.seen) == 6
    with torch.no_grad():
        net.head.weight[0, 0] += 1
    session(net, task).sensitivity(ratios=(0.5,))
    assert len(judge.seen) == 9


@pytest.mark.parametrize("changed", ["data.txt", "scan_helper_beside_it.py", "scan_inner_part/load.py", "labels.txt"])
def test_what_the_task_reads_is_noticed(
    net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    (tmp_path / "task.py").write_text(
        "from pathlib import Path\n"
        "import scan_helper_beside_it\n"
        "DATA = [Path(__file__).with_name('data.txt')]\n"
        "def evaluate(model):\n"
        "    with Path(__file__).with_name('evaluations.log').open('a') as file:\n"
        "        file.write('.')\n"
        "    return 0.5\n"
    )
    (tmp_path / "scan_inner_part").mkdir()
    (tmp_path / "scan_inner_part" / "load.py").write_text(f"LABELS = {str(tmp_path / 'labels.txt')!r}\n")
    (tmp_path / "scan_helper_beside_it.py").write_text("from scan_inner_part import load\n")
    for name in ("data.txt", "labels.txt", "other.txt"):
        (tmp_path / name).write_text("1")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("scan_helper_beside_it", "scan_inner_part", "scan_inner_part.load"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    log = tmp_path / "evaluations.log"

    def evaluations() -> int:
        log.write_text("")
        session(net, load_task(tmp_path / "task.py")).sensitivity(ratios=(0.5,))
        return len(log.read_text())

    assert evaluations() == 4  # the network as it is, and three groups
    (tmp_path / "other.txt").write_text("12")
    assert evaluations() == 1
    with (tmp_path / changed).open("a") as file:
        file.write("# more")
    assert evaluations() == 4
    assert evaluations() == 1


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"version": 1}', '{"version": 1, "points": {"a": [1, "b"]}}', "{}"]
)
def test_a_damaged_memory_is_ignored(net: Net, task: Task, judge: Judge, state: Path, content: str) -> None:
    found = session(net, task).sensitivity(ratios=(0.5,))
    (file,) = state.rglob("*.json")
    file.write_text(content)
    assert session(net, task).sensitivity(ratios=(0.5,)) == found
    assert len(judge.seen) == 6


def test_without_a_folder_to_write_to_it_works_all_the_same(net: Net, task: Task, state: Path) -> None:
    state.write_text("a file where the folder should be")
    assert session(net, task).sensitivity(ratios=(0.5,)).done == 1


def test_batch_norm_is_recalibrated_where_there_is_calibration_data(net: Net, task: Task, judge: Judge) -> None:
    def calibration() -> Iterator[Tensor]:
        yield IMAGES

    net.norm.running_var.fill_(100.0)  # as far from the data as after a cut, and more
    statistics: list[Tensor] = []

    def evaluate(model: nn.Module) -> float:
        statistics.append(model.norm.running_var.clone())
        return judge(model)

    found = session(net, Task(task.file, evaluate=evaluate, calibration=calibration)).sensitivity(ratios=(0.5,))
    assert found.recalibrated
    original, *cut = statistics
    assert original.min() == 100
    assert len(cut) == 4  # nothing cut, for reference, then one point of each group
    assert all(values.max() < 10 for values in cut)
    assert not session(net, task).sensitivity(ratios=(0.5,)).recalibrated


def test_what_is_locked_is_not_scanned(net: Net, task: Task) -> None:
    found = session(net, task, lock=("busy",), ratio=0.5, align=8).sensitivity(ratios=(0.25,))
    assert [curve.layer for curve in found.curves] == ["idle", "last"]
    assert [point.kept for curve in found.curves for point in curve.points] == [12, 12]  # no alignment, no other ratio
    with pytest.raises(UsageError, match="Nothing of this network can be cut"):
        session(net, task, lock=("*",)).sensitivity()


@pytest.mark.parametrize("ratios", [(), (0.0,), (0.5, 1.0)])
def test_wrong_ratios(net: Net, task: Task, ratios: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="Ratios to scan must lie between 0 and 1"):
        session(net, task).sensitivity(ratios=ratios)


def test_without_a_task(net: Net, task: Task) -> None:
    with pytest.raises(TuiPruneError, match="--task"):
        session(net, None).sensitivity()
    with pytest.raises(TuiPruneError, match=r"task\.py has no function evaluate"):
        session(net, Task(task.file, calibration=lambda: [IMAGES])).sensitivity()


# Tasks that misbehave


def test_an_evaluation_that_never_ends_stops_at_its_next_forward_pass(net: Net) -> None:
    passes = 0

    def evaluate(model: nn.Module) -> float:
        nonlocal passes
        model.train()
        while True:
            passes += 1
            try:
                model(IMAGES)
            except Exception:
                continue  # a user's code may swallow anything

    def stop(stage: str, done: float) -> None:
        if passes == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        Task(evaluate=evaluate).score(net, stop)
    assert passes == 4  # the third is asked to stop, the fourth is made to
    assert not net.training
    assert not net._forward_pre_hooks
    net(IMAGES)


def test_an_evaluation_that_was_stopped_gives_no_number(net: Net) -> None:
    def evaluate(model: nn.Module) -> float:
        try:
            model(IMAGES)
        except Exception:
            return 0.5

    def stop(stage: str, done: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        Task(evaluate=evaluate).score(net, stop)


def test_a_task_that_raises_leaves_its_traceback(tmp_path: Path, net: Net) -> None:
    file = tmp_path / "task.py"
    file.write_text("def evaluate(model):\n    return helper(model)\n\ndef helper(model):\n    return {}['accuracy']\n")
    work = session(net, load_task(file))
    with pytest.raises(TuiPruneError, match=r"task\.py, line 5: KeyError: 'accuracy', in evaluate\(model\)") as caught:
        work.evaluate()
    assert "line 2, in evaluate\n    return helper(model)" in user_traceback(caught.value)
    file.write_text("def evaluate(model):\n    return float('nan')\n")
    with pytest.raises(TuiPruneError, match="gave nan, which is no number to compare"):
        session(net, load_task(file)).sensitivity()
    assert work.set_ratio(0.5).cuts


# Suggestions


def test_the_layer_that_can_bear_it_is_cut(net: Net, task: Task) -> None:
    work = session(net, task)
    plan = work.apply(work.suggest(target_params=0.6))
    assert plan.after.params <= 0.6 * plan.before.params
    assert {layer.name: layer.after for layer in plan.layers if layer.producer} == {
        "busy": 16, "idle": 8, "last": 16, "head": 6
    }  # fmt: skip
    assert task.score(work.cut().model) == pytest.approx(1)


@pytest.mark.parametrize(
    "target", [{"target_macs": 0.5}, {"target_params": 0.3}, {"target_macs": 0.4, "target_params": 0.5}]
)
def test_targets_are_met_under_the_users_alignment_and_locks(net: Net, task: Task, target: dict[str, float]) -> None:
    work = session(net, task, align=4, lock=("last",), criterion="l1", ratio=0.9, layers={"busy": 0.1})
    recipe = work.suggest(**target)
    plan = work.apply(recipe)
    for name, share in target.items():
        cost = name.removeprefix("target_")
        assert getattr(plan.after, cost) <= share * getattr(plan.before, cost)
    assert (recipe.align, recipe.lock, recipe.criterion, recipe.ratio) == (4, ("last",), "l1", 0.0)
    widths = {layer.name: layer.after for layer in plan.layers if layer.producer}
    assert widths["last"] == 16
    assert widths["busy"] % 4 == widths["idle"] % 4 == 0
    assert set(recipe.layers) <= {"busy", "idle"}


def test_a_suggestion_is_no_worse_than_the_same_ratio_everywhere_or_one_ranking(net: Net, task: Task) -> None:
    for share in (0.7, 0.5, 0.3):
        work = session(net, task)
        work.apply(work.suggest(target_macs=share))
        suggested = task.score(work.cut().model)
        for scope in ("local", "global"):
            other = session(net, task, scope=scope)
            while other.plan.after.macs > share * other.plan.before.macs:
                other.set_ratio(other.plan.ratio + 0.01)
            assert suggested >= task.score(other.cut().model)


def measured_by(work: Session, score: Callable[[dict[str, int]], float], share: float) -> tuple[Plan, list[Plan]]:
    """The plan that is suggested where the widths alone say what a network is worth, and all that were measured."""
    tried: list[Plan] = []

    def measure(plan: Plan, progress: Progress) -> tuple[float, float]:
        tried.append(plan)
        return score({layer.name: layer.after for layer in plan.layers if layer.producer}), 0.1

    goal = Goal({"macs": share})
    recipe = suggest(
        work.graph,
        work.recipe,
        work.snapshot.planning.on,
        goal,
        criteria=("l2", "l1"),
        baseline=100.0,
        scanning=lambda recipe, progress: work.sensitivity(ratios=(0.25, 0.5)),
        measure=measure,
    )
    return work.apply(recipe), [plan for plan in tried if plan.cuts]


def test_what_measures_best_is_taken(net: Net, task: Task) -> None:
    def even(widths: dict[str, int]) -> float:
        cut = widths["busy"], widths["idle"], widths["last"]
        return min(cut) - max(cut)

    plan, tried = measured_by(session(net, task), even, 0.4)
    widths = [plan.layer(name).after for name in ("busy", "idle", "last")]
    assert max(widths) - min(widths) <= 1  # nearly the same ratio everywhere, since that is what scores here
    assert len(tried) > 2
    assert all(plan.after.macs <= 0.4 * plan.before.macs for plan in tried)


def test_the_best_is_shifted_where_that_is_better_still(net: Net, task: Task) -> None:
    """The scan says that `busy` can't be cut; the measured network wants it narrow."""
    plan, tried = measured_by(session(net, task), lambda widths: -widths["busy"], 0.5)
    first, last = tried[0].layer("busy").after, plan.layer("busy").after
    assert last < first
    assert plan.after.macs <= 0.5 * plan.before.macs


class Scaled(nn.Module):
    """Batch norm takes half of the channels of `wide` away, those with the large weights."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.norm, self.last = nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Conv2d(16, 6, 3)
        with torch.no_grad():
            self.wide.weight[::2] *= 10
            self.norm.weight[::2] = 0
            self.last.weight[:, ::2] *= 3

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.norm(self.wide(x)))).mean((2, 3))


def test_of_all_criteria_the_one_that_suits_is_found_without_a_scan(task: Task) -> None:
    net = Scaled().eval()
    judge = Judge(net)
    scans: list[Sensitivity] = []
    work = session(net, Task(task.file, evaluate=judge))
    recipe = work.suggest(target_macs=0.51, shown=scans.append)
    assert recipe.criterion == "bn_scale"
    work.apply(recipe)
    assert judge(work.cut().model) == pytest.approx(1)
    assert not scans  # nothing is lost, so nothing needs to be looked into
    own = session(net, Task(task.file, evaluate=judge), criterion="l1").suggest(target_macs=0.51)
    assert own.criterion == "l1"  # somebody has chosen it
    assert session(net, Task(task.file, evaluate=judge)).suggest(target_macs=0.51, criteria=["l2"]).criterion == "l2"


def trained_at(criterion: str, tuned: list[str]) -> Callable[..., None]:
    """A loop after which the network is right where channels went by this criterion, and is useless otherwise; notes
    by which they went."""

    def finetune(model: nn.Module, progress: Callable[..., None]) -> None:
        kept = model.wide.weight.detach().abs().mean((1, 2, 3)) > 0.5
        tuned.append("l1" if kept.all() else "bn_scale")
        with torch.no_grad():
            model.last.bias.fill_(1.0 if tuned[-1] == criterion else -1.0)
        progress(1.0)

    return finetune


def test_finalists_are_compared_once_they_are_fine_tuned(task: Task) -> None:
    net = Scaled().eval()
    tuned: list[str] = []

    def evaluate(model: nn.Module) -> float:
        """Before the training `bn_scale` is ahead, after it `l1`."""
        bias, narrow = float(model.last.bias.detach()[0]), model.wide.out_channels < 16
        kept = bool((model.wide.weight.detach().abs().mean((1, 2, 3)) > 0.5).all())
        return 2.0 if bias == 1 else 1.0 if not narrow else 0.0 if kept else 0.5

    loop = trained_at("l1", tuned)
    work = session(net, Task(task.file, evaluate=evaluate, finetune=loop))
    alone = work.suggest(target_macs=0.51, criteria=["bn_scale", "l1"])
    assert (alone.criterion, tuned) == ("bn_scale", [])
    recipe = work.suggest(target_macs=0.51, criteria=["bn_scale", "l1"], finalists=2)
    assert recipe.criterion == "l1"
    assert sorted(tuned) == ["bn_scale", "l1"]
    work.apply(recipe)
    assert work.recovered.report.recovered == ("fine-tuned",)
    assert evaluate(work.recovered.model) == work.recovered.report.accuracy.recovered == 2.0


def test_finalists_need_a_loop(net: Net, task: Task) -> None:
    with pytest.raises(UsageError, match=r"no function finetune\(model, progress\) for the finalists"):
        session(net, task).suggest(target_macs=0.5, finalists=2)
    with pytest.raises(UsageError, match="one finalist at least; 0 are asked for"):
        session(net, task).suggest(target_macs=0.5, finalists=0)


def test_comparing_finalists_can_be_stopped(task: Task) -> None:
    net = Scaled().eval()
    tuned: list[str] = []

    def stop(stage: str, done: float) -> None:
        if tuned:
            raise Cancelled

    chosen = Task(task.file, lambda model: float(model.last.bias.detach()[0]), finetune=trained_at("l1", tuned))
    with pytest.raises(Cancelled):
        session(net, chosen).suggest(stop, target_macs=0.51, criteria=["bn_scale", "l1"], finalists=2)
    assert len(tuned) == 1


def test_a_criterion_that_cannot_be_had_is_no_candidate(task: Task) -> None:
    """One output is no score of classes, and there is no loss: nothing for taylor."""
    net = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 1)).eval()
    inputs = torch.randn(20, 4)
    with torch.no_grad():
        outputs = net(inputs)

    def evaluate(model: nn.Module) -> float:
        with torch.no_grad():
            return -float((model(inputs) - outputs).square().mean())

    chosen = Task(task.file, evaluate=evaluate, calibration=lambda: [inputs])
    recipe = tui_prune.suggest(net, inputs[:1], chosen, target_macs=0.5)
    assert tui_prune.prune(net, inputs[:1], recipe, task=chosen).report.macs.after <= 30
    with pytest.raises(UsageError, match="criterion needs a loss"):
        tui_prune.suggest(net, inputs[:1], chosen, target_macs=0.5, criteria=["taylor"])


def test_a_target_out_of_reach(net: Net, task: Task) -> None:
    work = session(net, task, lock=("busy", "idle"))
    with pytest.raises(UsageError, match=r"The target of 10 % of the MACs can't be reached: .* are left\."):
        work.suggest(target_macs=0.1)
    with pytest.raises(UsageError, match="Say what the suggested network may need"):
        work.suggest()
    with pytest.raises(UsageError, match="must be a share above 0 and up to 1; it is 1.5"):
        work.suggest(target_params=1.5)


def test_python_functions(net: Net, task: Task) -> None:
    found = tui_prune.sensitivity(net, IMAGES[:1], task, ratios=(0.5,), criterion="l1")
    assert (found.criterion, len(found.curves)) == ("l1", 3)
    recipe = tui_prune.suggest(net, IMAGES[:1], task, target_macs=0.6, align=2)
    result = tui_prune.prune(net, IMAGES[:1], recipe)
    assert result.report.macs.after <= 0.6 * result.report.macs.before


def test_half_of_the_examples_choose_and_the_others_report(net: nn.Module) -> None:
    """A score that is right on the choosing half alone: what is told after a suggestion is what the others say."""
    from tui_prune.tasks.evidence import Half, Score

    right = np.zeros(40, bool)
    right[Half.CHOOSING.of(40)] = True
    work = session(net, Task(evaluate=lambda model: Score(right)))
    assert work.evaluate().before == 0.5
    recipe = work.suggest(target_macs=0.7, criteria=("l2",))
    assert work.expected(recipe).before == 1.0
    work.apply(recipe)
    accuracy = work.evaluate()
    assert (accuracy.before, accuracy.after) == (0.0, 0.0)
    assert accuracy.evidence["after"].count == 20
