"""Each criterion beside values computed by hand or by plain torch; how scores are combined; calibration data."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

import tui_prune
from tests import small_nets as nets
from tests.exactness import prune_exactly
from tests.small_nets import IMAGES, ROWS, conv
from tui_prune import Task, TuiPruneError, UsageError
from tui_prune.graph.graph import Graph
from tui_prune.planning.criteria import CRITERIA, Gathered, Needs, score_groups
from tui_prune.recovery.moments import gather_moments
from tui_prune.session.session import Session
from tui_prune.tasks.calibration import gather

NEEDY = [name for name, criterion in CRITERIA.items() if criterion.needs and not criterion.exact]


pytestmark = pytest.mark.usefixtures("one_thread_and_seed")


def gathered_for(graph: Graph, needs: Needs, task: Task) -> Gathered | None:
    """What a criterion needs to know of the calibration data."""
    if needs == "moments":
        return gather_moments(graph, task)
    return gather(graph, needs, task) if needs else None


def scores(model: nn.Module, inputs: Tensor, name: str, task: Task | None = None, **how: Any) -> dict[str, list[float]]:
    """The scores of each group by its name, without the locked output."""
    graph = tui_prune.trace(model, inputs)
    needs = CRITERIA[name].needs
    gathered = gathered_for(graph, needs, task) if task is not None else None
    found = score_groups(graph, name, gathered=gathered, **how)
    return {
        group.name: [round(float(score), 6) for score in own]
        for group, own in zip(graph.groups, found, strict=True)
        if own is not None and not group.fully_locked
    }


def two_layers(rows: list[list[float]]) -> nn.Sequential:
    """A linear layer with these weights, and one that reads it."""
    first = nn.Linear(len(rows[0]), len(rows), bias=False)
    first.weight.data = torch.tensor(rows)
    return nn.Sequential(first, nn.ReLU(), nn.Linear(len(rows), 2))


# Weights alone.


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", [7.0, 1.0, 14.0]),
        ("l2", [5.0, 1.0, 10.0]),
        # Squares 25, 1, 100: each over the sum of itself and the larger ones.
        ("lamp", [25 / 125, 1 / 126, 1.0]),
        # Distances: first to second 20^.5, first to third 5, second to third 89^.5.
        ("fpgm", [20**0.5 + 5, 20**0.5 + 89**0.5, 5 + 89**0.5]),
    ],
)
def test_scores_of_weights(name: str, expected: list[float]) -> None:
    model = two_layers([[3.0, 4.0], [1.0, 0.0], [6.0, 8.0]])
    assert scores(model, torch.randn(1, 2), name) == {"0": pytest.approx(expected, abs=1e-5)}


def test_scores_of_all_weights_that_go_with_a_channel() -> None:
    """Rows of the layer itself, the scale of its norm and the columns that read it, each over their layer's mean."""
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2)).eval()
    model[0].weight.data = torch.tensor([[3.0, 4.0], [1.0, 0.0], [6.0, 8.0]])
    model[1].weight.data = torch.tensor([-3.0, 0.5, 0.0])
    model[3].weight.data = torch.tensor([[1.0, 0.0, 2.0], [1.0, 3.0, 0.0]])
    rows, scales, columns = np.array([25, 1, 100]), np.array([9, 0.25, 0]), np.array([2, 9, 4])
    expected = rows / rows.mean() + scales / scales.mean() + columns / columns.mean()
    assert scores(model, torch.randn(4, 2), "group_l2") == {"0": pytest.approx(expected.tolist(), abs=1e-5)}


def test_a_kernel_that_goes_whole_with_a_channel_counts_once() -> None:
    """A depthwise kernel, and one whose groups go whole: here channels go in pairs."""
    depthwise, grouped, last = nn.Conv2d(4, 4, 1, groups=4), nn.Conv2d(4, 4, 1, groups=2), conv(4, 2)
    model = nn.Sequential(conv(3, 4), depthwise, grouped, last)
    for layer in (model[0], last):
        layer.weight.data.fill_(1)
    depthwise.weight.data = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1, 1)
    grouped.weight.data = torch.tensor([[1.0, 0.0], [2.0, 1.0], [3.0, 0.0], [0.0, 1.0]]).view(4, 2, 1, 1)
    kernels, blocks = np.array([1, 4, 9, 16]) / 7.5, np.array([1, 5, 9, 1]) / 4
    expected = (1 + kernels + blocks + 1).reshape(2, 2).sum(1)
    assert scores(model, torch.randn(IMAGES), "group_l2") == {"0": pytest.approx(expected.tolist(), abs=1e-5)}


def test_scores_of_batch_norm_scales() -> None:
    norm = nn.BatchNorm2d(3)
    norm.weight.data = torch.tensor([-3.0, 0.5, 0.0])
    model = nn.Sequential(conv(3, 3), norm, nn.ReLU(), conv(3, 2)).eval()
    assert scores(model, torch.randn(IMAGES), "bn_scale") == {"0": [3.0, 0.5, 0.0]}


@pytest.mark.parametrize("name", ["l1", "l2", "lamp", "fpgm"])
def test_a_kernel_counts_as_a_whole_whatever_its_layout(name: str) -> None:
    """A transposed convolution has its outputs on another dimension; grouped ones have them in parts."""
    for plain, other in (
        (nn.Conv2d(4, 6, 3), nn.ConvTranspose2d(4, 6, 3)),
        (nn.Conv2d(2, 6, 3, groups=2), nn.ConvTranspose2d(2, 6, 3, groups=2)),
    ):
        weight = plain.weight.data
        groups = plain.groups
        parts = weight.reshape(groups, 6 // groups, *weight.shape[1:]).transpose(1, 2)
        other.weight.data = parts.reshape(-1, *parts.shape[2:]).contiguous()
        inputs = torch.randn(1, plain.in_channels, 8, 8)
        found = [scores(nn.Sequential(layer, conv(6, 2)), inputs, name)["0"] for layer in (plain, other)]
        assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_scores_of_half_precision_are_those_of_its_values() -> None:
    model = two_layers([[300.0, 400.0], [1.0, 0.0], [6.0, 8.0]])
    for name in ("l2", "fpgm", "lamp"):
        full = scores(model, torch.randn(1, 2), name)["0"]
        half = scores(copy.deepcopy(model).to(torch.bfloat16), torch.randn(1, 2).bfloat16(), name)["0"]
        assert half == pytest.approx(full, rel=1e-2)


def test_every_criterion_of_the_table_has_a_function_and_a_sentence() -> None:
    graph = tui_prune.trace(two_layers([[3.0, 4.0], [1.0, 0.0]]), torch.randn(1, 2))
    task = Task(calibration=lambda: [torch.randn(4, 2)])
    for name, criterion in CRITERIA.items():
        assert criterion.says
        if criterion.exact:  # it needs no task
            continue
        gathered = gathered_for(graph, criterion.needs, task)
        found = score_groups(graph, name, gathered=gathered)
        assert (found[0] is None) == (name == "bn_scale")


# How scores of several layers become one.


class Added(nn.Module):
    """Two layers that are added up: `a` and `b` put out the same channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(1, 3, bias=False), nn.Linear(1, 3, bias=False), nn.Linear(3, 2)
        self.a.weight.data = torch.tensor([[1.0], [2.0], [3.0]])
        self.b.weight.data = torch.tensor([[40.0], [10.0], [10.0]])

    def forward(self, x: Tensor) -> Tensor:
        return self.out((self.a(x) + self.b(x)).relu())


@pytest.mark.parametrize(
    ("combine", "normalise", "expected"),
    [
        ("auto", "none", [41.0, 12.0, 13.0]),
        ("sum", "none", [41.0, 12.0, 13.0]),
        ("mean", "none", [20.5, 6.0, 6.5]),
        ("max", "none", [40.0, 10.0, 10.0]),
        ("sum", "mean", [1 / 2 + 2, 1 + 0.5, 1.5 + 0.5]),
        ("sum", "max", [1 / 3 + 1, 2 / 3 + 1 / 4, 1 + 1 / 4]),
        ("max", "max", [1.0, 2 / 3, 1.0]),
    ],
)
def test_scores_are_combined_as_chosen(combine: str, normalise: str, expected: list[float]) -> None:
    found = scores(Added(), torch.randn(1, 1), "l1", combine=combine, normalise=normalise)
    assert found == {"a": pytest.approx(expected, abs=1e-5)}


def test_the_choice_changes_what_is_cut_and_is_said() -> None:
    session = Session.open(model=Added().eval(), input_spec="1,1")
    kept = {}
    for combine, normalise, said in (
        ("auto", "none", "sum of the l1 scores of a and b"),
        ("max", "max", "largest of the l1 scores of a and b, each over its layer's largest"),
    ):
        session.apply(tui_prune.Recipe(ratio=0.34, criterion="l1", combine=combine, normalise=normalise))
        details = session.details("a")
        assert details.scored == said
        kept[combine] = details.kept.tolist()
    assert kept == {"auto": [True, False, True], "max": [True, False, True]}
    session.apply(tui_prune.Recipe(ratio=0.34, criterion="l1", normalise="mean", lock=("b",)))
    assert session.details("out").scored == "l1, each over its layer's mean"


def test_normalised_layers_are_comparable_in_one_ranking() -> None:
    """The second layer's weights are all a hundred times smaller: plain magnitude would take all of it."""
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    model[2].weight.data *= 0.01
    graph = tui_prune.trace(model, torch.randn(1, 2))
    plain = tui_prune.plan(graph, ratio=0.5, scope="global", criterion="l1")
    fair = tui_prune.plan(graph, ratio=0.5, scope="global", criterion="l1", normalise="mean")
    assert plain.layer("2").after == 1
    assert fair.layer("2").after > 2


def test_lamp_takes_of_every_layer() -> None:
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    model[2].weight.data *= 0.01
    plan = tui_prune.plan(tui_prune.trace(model, torch.randn(1, 2)), ratio=0.5, scope="global", criterion="lamp")
    assert min(plan.layer("0").after, plan.layer("2").after) > 2


# Calibration data: activations.


def test_activation_is_what_the_next_layers_read() -> None:
    model = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 2)).eval()
    model[1].bias.data = torch.tensor([-9.0, 0.1, 0.2, 5.0])
    batches = [torch.randn(2, 3, 8, 8), torch.randn(6, 3, 8, 8)]
    expected = model[:3](torch.cat(batches)).abs().mean((0, 2, 3))
    task = Task(calibration=lambda: batches)
    assert scores(model, batches[0], "activation", task) == {"0": pytest.approx(expected.tolist(), abs=1e-5)}


def test_variance_is_that_of_what_the_next_layers_read() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).eval()
    with torch.no_grad():
        model[0].weight[1] = 0
        model[0].bias[1] = 40.0
    batches = [torch.randn(7, 3), torch.randn(9, 3) + 1]
    task = Task(calibration=lambda: batches)
    expected = torch.relu(model[0](torch.cat(batches))).detach().var(0, correction=0)
    assert scores(model, batches[0], "variance", task) == {"0": pytest.approx(expected.tolist(), abs=1e-5)}
    assert expected[1] == 0


def test_activation_of_several_readers_is_their_mean() -> None:
    class Read(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(2, 3), nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x)) + self.c(self.a(x).relu())

    model, batch = Read(), torch.randn(5, 2)
    plain = model.a(batch)
    expected = (plain.abs().mean(0) + plain.relu().mean(0)) / 2
    task = Task(calibration=lambda: [(batch, None)])
    assert scores(model, batch, "activation", task)["a"] == pytest.approx(expected.tolist(), abs=1e-5)


def test_flattened_positions_of_a_channel_count_together() -> None:
    model = nn.Sequential(conv(3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 2)).eval()
    batch = torch.randn(5, 3, 8, 8)
    expected = model[:2](batch).mean((0, 2, 3))
    found = scores(model, batch, "activation", Task(calibration=lambda: [batch]))
    assert found["0"] == pytest.approx(expected.tolist(), abs=1e-5)


# Calibration data: gradients.


def without(model: nn.Module, layer: int, channel: int) -> nn.Module:
    """A copy whose layer puts out zero in one channel."""
    other = copy.deepcopy(model)
    other[layer].weight.data[channel] = 0
    if other[layer].bias is not None:
        other[layer].bias.data[channel] = 0
    return other


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3)),
        lambda: nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(inplace=True), nn.Linear(4, 3)),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3)),
    ],
    ids=["linear", "in place", "convolution"],
)
def test_taylor_is_the_squared_change_of_a_linear_loss(build: Callable[[], nn.Sequential]) -> None:
    """Where the loss is linear in a channel, its first-order change is all of it."""
    model = build().double()
    shape = (6, 2) if isinstance(model[0], nn.Linear) else (2, 3, 8, 8)
    batches = [torch.randn(shape).double(), torch.randn(shape).double()]
    loss = lambda output, targets: output.sum()  # noqa: E731
    with torch.no_grad():
        expected = [
            np.mean([float(loss(model(x), None) - loss(without(model, 0, n)(x), None)) ** 2 for x in batches])
            for n in range(4)
        ]
    found = scores(model, batches[0], "taylor", Task(calibration=lambda: batches, loss=loss))
    assert found["0"] == pytest.approx(expected, abs=1e-5)


def by_weights(model: nn.Sequential, batch: Tensor, loss: Callable[[Tensor], Tensor]) -> list[float]:
    """(Sum of weight times gradient)² of the first layer, bias included, by plain autograd."""
    model.zero_grad()
    loss(model(batch)).backward()
    first = model[0]
    return ((first.weight * first.weight.grad).sum(1) + first.bias * first.bias.grad).square().tolist()


def test_taylor_without_a_loss_takes_cross_entropy() -> None:
    model, batch = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3)), torch.randn(8, 2)
    targets = torch.arange(8) % 3
    expected = by_weights(model, batch, lambda output: F.cross_entropy(output, targets))
    found = scores(model, batch, "taylor", Task(calibration=lambda: [(batch, targets)]))["0"]
    assert found == pytest.approx(expected, abs=1e-5)
    expected = by_weights(model, batch, lambda output: F.cross_entropy(output, output.argmax(1)))
    found = scores(model, batch, "taylor", Task(calibration=lambda: [batch]))["0"]
    assert found == pytest.approx(expected, abs=1e-5)


def test_taylor_of_computed_weights_is_that_of_their_values() -> None:
    """Weight times gradient of what weight norm computes a weight from would be zero in sum."""
    plain = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    computed = copy.deepcopy(plain)
    weight_norm(computed[0])
    task = Task(calibration=lambda: [torch.randn(8, 2, generator=torch.Generator().manual_seed(3))])
    found = [scores(model, torch.randn(1, 2), "taylor", task)["0"] for model in (plain, computed)]
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    assert max(found[0]) > 0


def mean_product(output: Tensor, targets: Tensor) -> Tensor:
    """A loss that is linear in the outputs."""
    return (output * targets).sum(1).mean()


class Readers(nn.Module):
    """Two layers that read the same two channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.left, self.right = (nn.Linear(2, 2, bias=False) for _ in range(3))
        self.out = nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.eye(2))
            self.left.weight.copy_(torch.eye(2))
            self.right.weight.copy_(torch.tensor([[-1.0, 0.0], [0.0, 1.0]]))
            self.out.weight.fill_(1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.out(self.left(y) + self.right(y))


def test_fisher_squares_what_each_input_says() -> None:
    """The first channel moves the loss by 2 for one input and by -2 for the other, the second by 1 for both: a gradient
    of the mean, as taylor takes it, sees nothing of the first."""
    model = two_layers([[2.0, 0.0], [0.0, 1.0]])
    model[2].weight.data, model[2].bias.data = torch.eye(2), torch.zeros(2)
    inputs, targets = torch.ones(2, 2), torch.tensor([[1.0, 1.0], [-1.0, 1.0]])
    task = Task(calibration=lambda: [(inputs, targets)], loss=mean_product)
    assert scores(model, inputs, "fisher", task) == {"0": [4.0, 1.0]}
    assert scores(model, inputs, "taylor", task) == {"0": [0.0, 1.0]}
    assert scores(model, inputs, "l2") == {"0": [2.0, 1.0]}


def test_fisher_sums_over_the_layers_that_lose_a_channel_together() -> None:
    """What one layer makes of the first channel the other takes back: nothing is lost without it."""
    task = Task(calibration=lambda: [(torch.tensor([[3.0, 1.0]]), torch.ones(1, 1))], loss=mean_product)
    assert scores(Readers(), torch.randn(1, 2), "fisher", task)["first"] == [0.0, 4.0]


def test_reconstruction_lets_go_what_the_other_channels_predict() -> None:
    """Two large channels that are one, and a small one of its own: one of the two goes first, then the small one."""
    model = two_layers([[3.0, 0.0], [3.0, 0.0], [0.0, 1.0]])
    model[2].weight.data = torch.ones(2, 3)
    inputs = torch.rand(64, 2)
    found = scores(model, inputs, "reconstruction", Task(calibration=lambda: [inputs]))["0"]
    assert np.argsort(found).tolist() in ([0, 2, 1], [1, 2, 0])
    assert scores(model, inputs, "l2") == {"0": [3.0, 3.0, 1.0]}


def test_reconstruction_scores_are_the_errors_that_are_left() -> None:
    """Uncorrelated channels of variances 1, 4 and 9 are read with weights 3, 1 and 2: they carry 9, 4 and 36 parts of
    49. The cheapest goes first; what it costs to lose the next is added to that."""
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 1))
    model[0].weight.data, model[1].weight.data = torch.eye(3), torch.tensor([[3.0, 1.0, 2.0]])
    model[1].bias.data.zero_()
    signs = torch.tensor([[a, b, c] for a in (-1.0, 1.0) for b in (-2.0, 2.0) for c in (-3.0, 3.0)])
    found = scores(model, signs, "reconstruction", Task(calibration=lambda: [signs]))["0"]
    assert found == pytest.approx([13 / 49, 4 / 49, 1.0], rel=0.02)


@pytest.mark.parametrize("name", NEEDY)
@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (nets.Residual, IMAGES),
        (nets.DenseBlock, IMAGES),
        (nets.SqueezeExcitation, IMAGES),
        (nets.SharedLayer, IMAGES),
        (nets.ToLinear, IMAGES),
        (nets.TiedLayers, IMAGES),
        (nets.Attention, ROWS),
        (nets.TorchAttention, ROWS),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_networks_are_cut_by_calibration_data(
    name: str, build: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    model = build().eval()
    task = Task(calibration=lambda: [torch.randn(shape)], loss=lambda output, targets: output.square().mean())
    prune = tui_prune.prune if "Attention" in build.__name__ else prune_exactly
    result = prune(model, torch.randn(shape), ratio=0.5, criterion=name, task=task)
    assert result.plan.cuts
    assert not any("ranked" in note for note in result.plan.notes) or build is nets.TorchAttention


@pytest.mark.parametrize("name", NEEDY)
def test_calibration_runs_once_for_many_plans(name: str) -> None:
    runs = []

    def calibration() -> list[Tensor]:
        runs.append(1)
        return [torch.randn(2, 2)]

    session = Session.open(model=two_layers([[1.0, 2.0], [3.0, 4.0]]), input_spec="1,2")
    session = Session(session.opened, task=Task(calibration=calibration))
    assert not runs
    recipe = tui_prune.Recipe(criterion=name, ratio=0.5)
    assert session.waits_for(recipe)
    with pytest.raises(UsageError, match="calibration data has to be run"):
        session.preview(recipe)
    session.prepare(recipe)
    assert not session.waits_for(recipe)
    session.apply(recipe)
    session.set_ratio(0.25)
    session.apply(session.recipe.changed(combine="max", grouped="whole"))
    assert session.cut().plan.recipe.criterion == name
    assert len(runs) == 1


def test_calibration_takes_inputs_in_every_form() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.out = nn.Linear(2, 4), nn.Linear(2, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.out((self.a(x) + self.b(y)).relu())

    model, x, y = Two(), torch.randn(3, 2), torch.randn(3, 2)
    forms = [((x, y), None), {"x": x, "y": y}, ((x.double(), y), torch.tensor([0, 1, 2])), [{"y": y, "x": x}, None]]
    graph = tui_prune.trace(model, (x, y))
    found = [
        score_groups(graph, "activation", gathered=gather(graph, "activations", Task(calibration=lambda f=f: [f])))[0]
        for f in forms
    ]
    for other in found[1:]:
        assert other == pytest.approx(found[0], abs=1e-6)


# What can go wrong.


def fails(*_: Any) -> Any:
    raise ValueError("no data today")


@pytest.mark.parametrize(
    ("name", "task", "sentence"),
    [
        ("taylor", None, r"needs calibration data: give a task file \(--task FILE\.py\) with a function calibration"),
        ("variance", Task(), r"needs calibration data: give the task a function calibration\(\)"),
        ("activation", Task(), r"needs calibration data: give the task a function calibration\(\)"),
        ("activation", Task(calibration=lambda: []), "yields nothing"),
        ("activation", Task(calibration=fails), r"no data today, in calibration\(\)"),
        ("activation", Task(calibration=lambda: [torch.randn(3, 7)]), "forward pass fails on a batch of calibration"),
        ("taylor", Task(calibration=lambda: [torch.randn(3, 2)], loss=fails), "no data today, in loss"),
        ("taylor", Task(calibration=lambda: [torch.randn(3, 2)], loss=lambda o, t: o), "a tensor of one number"),
        ("taylor", Task(calibration=lambda: [torch.randn(3, 2)], loss=lambda o, t: 0.5), "a tensor of one number"),
        ("taylor", Task(calibration=lambda: [torch.randn(3, 2)], loss=lambda o, t: o.detach().sum()), "has a gradient"),
        ("taylor", Task(calibration=lambda: [torch.randn(3, 2)], loss=lambda o, t: 0 * o.sum()), "has no gradient"),
        ("taylor", Task(calibration=lambda: [(torch.randn(3, 2), torch.randn(3))]), "not the class numbers"),
        ("activation", Task(calibration=lambda: [torch.full((3, 2), float("nan"))]), "meets NaN or infinity"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)  # fmt: skip
def test_what_goes_wrong_with_calibration_is_said(name: str, task: Task | None, sentence: str) -> None:
    with pytest.raises(TuiPruneError, match=sentence):
        tui_prune.prune(two_layers([[3.0, 4.0], [1.0, 0.0]]), torch.randn(1, 2), ratio=0.5, criterion=name, task=task)


def test_taylor_needs_a_loss_where_the_output_is_no_classes() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    with pytest.raises(UsageError, match=r"give the task a function loss\(output, targets\)"):
        task = Task(calibration=lambda: [torch.randn(3, 2)])
        tui_prune.prune(model, torch.randn(1, 2), ratio=0.5, criterion="taylor", task=task)


@pytest.mark.parametrize("name", ["l1", "l2", "group_l2", "lamp", "fpgm"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_name_the_layer_that_holds_them(name: str, value: float) -> None:
    model = Added()
    model.b.weight.data[1] = value
    with pytest.raises(
        TuiPruneError, match=rf"The {name} scores of b are not finite: its weights hold NaN or infinity"
    ):
        tui_prune.prune(model, torch.randn(1, 1), ratio=0.5, criterion=name)


def test_a_batch_norm_that_holds_nan_is_named() -> None:
    model = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 2)).eval()
    model[1].weight.data[2] = float("nan")
    with pytest.raises(TuiPruneError, match="The bn_scale scores of 1 are not finite"):
        tui_prune.plan(tui_prune.trace(model, torch.randn(IMAGES)), ratio=0.5, criterion="bn_scale")


def test_a_channel_that_nothing_speaks_of_stays_and_the_plan_says_so() -> None:
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.out = nn.Linear(2, 4), nn.Linear(2, 4), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.cat([self.a(x).detach(), self.b(x)], 1))

    task = Task(calibration=lambda: [torch.randn(3, 2)])
    plan = tui_prune.prune(Detached(), torch.randn(1, 2), ratio=0.5, criterion="taylor", task=task).plan
    assert (plan.layer("a").after, plan.layer("b").after) == (4, 2)
    assert plan.notes == ("a can't be ranked by taylor: no gradient reaches its channels",)


def test_calibration_can_be_stopped() -> None:
    session = Session.open(model=two_layers([[1.0, 2.0], [3.0, 4.0]]), input_spec="1,2")
    session = Session(session.opened, task=Task(calibration=lambda: iter(lambda: torch.randn(2, 2), None)))
    seen = []

    def progress(stage: str, done: float) -> None:
        seen.append(stage)
        if len(seen) == 20:
            raise tui_prune.Cancelled

    with pytest.raises(tui_prune.Cancelled):
        session.prepare(tui_prune.Recipe(criterion="taylor"), progress)
    assert set(seen) == {"calibrate"}
    assert not session.opened.module[0]._forward_hooks
