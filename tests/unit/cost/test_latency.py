"""Latency on a pretended device, whose clock follows a rule; what is remembered; memory; the command `bench`."""

import json
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from typer.testing import CliRunner

import tui_prune
from tests import small_nets as nets
from tests.small_nets import IMAGES, ROWS, conv
from tui_prune import Recipe, UsageError
from tui_prune.cli.main import app
from tui_prune.cost import bench, on_target, stopwatch
from tui_prune.cost.bench import Measured, measure, peak_memory
from tui_prune.cost.cost import CostModel, SizedCall
from tui_prune.cost.latency import LatencyModel, Sweep, best_multiple
from tui_prune.cost.stopwatch import Stopwatch
from tui_prune.cost.whole import WholeNetwork
from tui_prune.session import plans
from tui_prune.session.session import Session


@pytest.fixture(autouse=True)
def own_cache_and_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield tmp_path / "cache" / "tui-prune"
    torch.set_num_threads(threads)


class Device:
    """Takes as long as its rule says of a call; counts what it is asked."""

    def __init__(self, rule: Callable[[SizedCall], float]) -> None:
        self._rule = rule
        self.asked: list[SizedCall] = []

    def seconds(self, calls: Sequence[SizedCall]) -> list[float | None]:
        self.asked += calls
        return [self._rule(call) for call in calls]


def by_work(call: SizedCall) -> float:
    """Seconds in proportion to the multiply-accumulates."""
    return 1e-9 * call.macs


def in_steps(step: int) -> Callable[[SizedCall], float]:
    """Outputs and inputs are worked off so many at a time."""

    def seconds(call: SizedCall) -> float:
        outputs, inputs = call.out[1], call.args[0][1]
        positions = call.macs / max(outputs * inputs, 1)
        return 1e-9 * positions * ceil(outputs / step) * step * ceil(inputs / step) * step

    return seconds


def chain(*channels: int) -> nn.Sequential:
    """Convolutions of these widths, then four classes."""
    layers: list[nn.Module] = []
    for before, width in zip((3, *channels), channels, strict=False):
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, conv(channels[-1], 4)).eval()


def whole(graph: tui_prune.graph.graph.Graph) -> np.ndarray:
    return np.ones(graph.classes.channels, bool)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Device]:
    """Make sessions run on a device of this rule, where a whole network takes what its calls do, and some seconds more
    that no cut changes; each pass takes a share of `noise` longer."""

    def pretend(rule: Callable[[SizedCall], float], more: float = 0.0, noise: Sequence[float] = (0.0,)) -> Device:
        device = Device(rule)

        def passes(models: Sequence[nn.Module], inputs: Any, kwargs: Any = None, progress: Any = None) -> Any:
            found = []
            for model in models:
                graph = tui_prune.trace(model, inputs, probing=False)
                costs, calls = CostModel(graph), range(len(graph.record.costs))
                seconds = more + sum(rule(costs.sized_call(n, whole(graph))) for n in calls)
                late = [seconds * (1 + share) for share in (noise if len(found) else noise[::-1])]
                found.append(Measured(median(late), 1, tuple(late)))
            return tuple(found)

        monkeypatch.setattr(plans, "Stopwatch", lambda model: device)
        monkeypatch.setattr(plans, "measure", passes)
        monkeypatch.setattr("tui_prune.session.cutting.measure", passes)
        return device

    return pretend


# Prediction.


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(conv(3, 16, 3), nn.ReLU(), conv(16, 24), nn.ReLU(), conv(24, 4)), IMAGES),
        (nn.Sequential(conv(3, 16), conv(16, 24, 3, groups=4), nn.ReLU(), conv(24, 8)), IMAGES),
        (nn.Sequential(conv(3, 16), conv(16, 48, 3, groups=16), nn.ReLU(), conv(48, 8)), IMAGES),
        (nn.Sequential(conv(3, 16), nn.ConvTranspose2d(16, 12, 2, stride=2), nn.ReLU(), conv(12, 8)), IMAGES),
        (nets.Residual(), IMAGES),
        (nets.DenseBlock(), IMAGES),
        (nets.Attention(), ROWS),
    ],
    ids=["plain", "grouped", "multiplier", "transposed", "residual", "dense", "attention"],
)
def test_prediction_follows_the_work_on_a_device_that_does(model: nn.Module, shape: tuple[int, ...]) -> None:
    graph = tui_prune.trace(model.eval(), torch.randn(shape))
    latency = LatencyModel(graph, Device(by_work))
    latency.measure()
    for ratio in (0.0, 0.25, 0.5, 0.75):
        plan = tui_prune.plan(graph, ratio=ratio)
        assert latency.seconds(plan.keep) == pytest.approx(1e-9 * plan.after.macs, rel=0.12)
        for layer in plan.layers:
            if layer.macs.before and "attention" not in layer.name:
                assert latency.by_layer(plan.keep)[layer.name] == pytest.approx(1e-9 * layer.macs.after, rel=0.25)


def test_what_isn_t_measured_goes_with_the_memory() -> None:
    graph = tui_prune.trace(chain(16, 16), torch.randn(IMAGES))
    calls = 1e-9 * tui_prune.plan(graph).before.macs
    latency = LatencyModel(graph, Device(by_work), whole=WholeNetwork(3 * calls))
    latency.measure()
    assert latency.seconds(whole(graph)) == pytest.approx(3 * calls)
    half = tui_prune.plan(graph, ratio=0.5)
    assert calls < latency.seconds(half.keep) < 3 * calls


def test_a_call_that_can_t_be_run_alone_is_left_to_the_rest() -> None:
    graph = tui_prune.trace(chain(16, 16), torch.randn(IMAGES))
    device = Device(by_work)
    device.seconds = lambda calls: [None] * len(calls)
    latency = LatencyModel(graph, device, whole=WholeNetwork(1.0))
    latency.measure()
    latency.find_multiple()
    assert latency.seconds(whole(graph)) == pytest.approx(1.0)
    assert latency.multiple == 1


def test_prediction_never_rises_with_a_cut() -> None:
    """Whatever the clock says: a target could not be searched by halves otherwise."""
    noise = np.random.default_rng(0)
    graph = tui_prune.trace(chain(32, 24), torch.randn(IMAGES))
    latency = LatencyModel(graph, Device(lambda call: by_work(call) * (1 + noise.random())))
    latency.measure()
    found = [latency.seconds(tui_prune.plan(graph, ratio=n / 50).keep) for n in range(50)]
    assert found == sorted(found, reverse=True)


# The multiple that suits a device.


@pytest.mark.parametrize("step", [1, 4, 8, 16, 32])
@pytest.mark.parametrize("first", [32, 64])
def test_steps_of_a_device_are_found(step: int, first: int) -> None:
    sweep = Sweep(0, 0, tuple(range(first, first + 33)))
    times = [ceil(size / step) * step * 1e-6 for size in sweep.widths]
    assert best_multiple([(sweep, times)]) == step
    noise = np.random.default_rng(0)
    noisy = [(sweep, [seconds * (1 + 0.02 * noise.random()) for seconds in times]) for _ in range(4)]
    assert best_multiple(noisy) == step


def test_a_device_that_is_slow_beside_multiples_is_found() -> None:
    sweep = Sweep(0, 0, tuple(range(64, 97)))
    assert best_multiple([(sweep, [size * (1.0 if size % 8 == 0 else 1.9) for size in sweep.widths])]) == 8
    assert best_multiple([]) == 1


@pytest.mark.parametrize("step", [1, 8, 16])
def test_alignment_is_the_device_s_where_it_is_left_to_it(pretended: Any, step: int) -> None:
    device = pretended(in_steps(step))
    result = tui_prune.prune(chain(64, 96), torch.randn(1, 3, 8, 8), ratio=0.45, align="auto")
    assert result.report["found"] == {"align": step}
    assert result.plan.align == step
    assert all(layer["after"] % step == 0 for layer in result.report["layers"][:-1])
    assert device.asked
    assert "latency" not in result.report


# Targets of latency.


@pytest.mark.parametrize("scope", ["local", "global"])
def test_a_target_of_latency_lands_on_the_device_s_steps(pretended: Any, scope: str) -> None:
    pretended(in_steps(8))
    result = tui_prune.prune(chain(64, 96, 48), torch.randn(1, 3, 8, 8), target_latency=0.6, scope=scope)
    report = result.report.to_dict()
    assert report["found"]["align"] == 8
    assert all(layer["after"] % 8 == 0 for layer in report["layers"][:-1])
    latency = report["latency"]
    assert latency["predicted"] <= 0.6 * latency["before"]
    assert latency["predicted"] == pytest.approx(latency["after"], rel=0.15)
    assert result.plan.notes[0].endswith("of the latency predicted (at most 60 % of the latency).")
    (target,) = report["targets"]
    assert target["target"] == "target_latency"
    assert target["after"] <= target["limit"]
    wider = tui_prune.plan(result.plan.graph, ratio=max(result.plan.ratio - 0.1, 0.0), align=8, scope=scope)
    assert wider.after.macs > result.plan.after.macs


SMALL = chain(64, 96, 48)
CALLS = 1e-9 * tui_prune.plan(tui_prune.trace(SMALL, torch.randn(1, 3, 8, 8))).before.macs
"""Seconds that the calls of `SMALL` take on a device that goes by work."""


@pytest.mark.parametrize("more", [0.3, 1.0])
@pytest.mark.parametrize("target", [0.6, 0.75])
def test_what_a_cut_doesn_t_change_is_found_by_measuring_one(pretended: Any, more: float, target: float) -> None:
    pretended(by_work, more=more * CALLS)
    latency = tui_prune.prune(SMALL, torch.randn(1, 3, 8, 8), target_latency=target, align=2).report["latency"]
    assert 0.95 * target < latency["after"] / latency["before"] <= 1.01 * target
    assert latency["predicted"] == pytest.approx(latency["after"], rel=0.02)


def test_noise_corrects_nothing(pretended: Any) -> None:
    pretended(by_work)
    quiet = tui_prune.prune(SMALL, torch.randn(1, 3, 8, 8), target_latency=0.6, align=2)
    noise = np.random.default_rng(0).gamma(0.5, 1.0, 15)
    noise[7] = 0.0
    pretended(by_work, noise=noise.tolist())
    noisy = tui_prune.prune(SMALL, torch.randn(1, 3, 8, 8), target_latency=0.6, align=2)
    assert np.array_equal(noisy.plan.keep, quiet.plan.keep)
    latency = noisy.report["latency"]
    least, most = latency["between"]
    assert least < latency["predicted"] < most
    assert least <= latency["after"] <= most


def test_nobody_sees_a_plan_that_is_still_corrected(pretended: Any) -> None:
    pretended(by_work, more=CALLS)
    session = Session.open(model=SMALL, input_spec="1,3,8,8")
    recipe = Recipe(target_latency=0.7)
    assert session.waits_for(recipe) == "layers have to be measured on this device"
    stages = []
    session.prepare(recipe, lambda stage, done: stages.append(stage))
    assert "measure a cut" in stages
    seen = session.apply(recipe)
    session.cut()
    assert session.plan is seen
    assert session.apply(Recipe(target_latency=0.8)).after.macs > seen.after.macs
    assert session.undo() is seen


def test_a_latency_that_no_cut_reaches_says_what_isn_t_in_layers(pretended: Any) -> None:
    pretended(by_work, more=4 * CALLS)
    left = r"can't be reached: .* [78]\d.* of the latency are left. [78]\d % go to other operators and to starting them"
    with pytest.raises(UsageError, match=left):
        tui_prune.prune(SMALL, torch.randn(1, 3, 8, 8), target_latency=0.6)


def test_an_alignment_that_was_asked_for_is_kept(pretended: Any) -> None:
    pretended(in_steps(8))
    result = tui_prune.prune(chain(64, 96), torch.randn(1, 3, 8, 8), target_latency=0.6, align=3)
    assert result.plan.align == 3
    assert all(layer["after"] % 3 == 0 for layer in result.report["layers"][:-1])
    assert list(result.report["found"]) == ["ratio"]


def test_latency_that_is_out_of_reach_names_layers(pretended: Any) -> None:
    pretended(by_work)
    with pytest.raises(UsageError, match=r"60 % of the latency can't be reached.* 0 \(\d+ %: locked by you\)"):
        tui_prune.prune(chain(64, 8), torch.randn(1, 3, 8, 8), target_latency=0.6, lock=("*",))


def test_a_device_is_measured_once_for_many_plans(pretended: Any) -> None:
    device = pretended(in_steps(8))
    session = Session.open(model=chain(64, 96), input_spec="1,3,8,8")
    assert not device.asked
    recipe = Recipe(target_latency=0.6)
    assert session.waits_for(recipe) == "layers have to be measured on this device"
    with pytest.raises(UsageError, match="layers have to be measured"):
        session.preview(recipe)
    stages = []
    session.prepare(recipe, lambda stage, done: stages.append(stage))
    assert {"measure layers", "measure widths"} <= set(stages)
    asked = len(device.asked)
    assert not session.waits_for(recipe)
    assert session.preview(recipe).after.macs < session.plan.before.macs
    for share in (0.7, 0.5, 0.3):
        session.apply(session.recipe.changed(target_latency=share))
    session.apply(Recipe(align="auto", ratio=0.5))
    assert len(device.asked) == asked


def test_measuring_can_be_stopped(pretended: Any) -> None:
    pretended(by_work)
    session = Session.open(model=chain(64, 96), input_spec="1,3,8,8")

    def progress(stage: str, done: float) -> None:
        if stage == "measure layers" and done > 0.3:
            raise tui_prune.Cancelled

    with pytest.raises(tui_prune.Cancelled):
        session.prepare(Recipe(target_latency=0.6), progress)
    session.set_ratio(0.5)
    assert session.plan.cuts


# Running calls, and remembering them.


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(conv(3, 16), conv(16, 24, 3, groups=4), nn.ReLU(), conv(24, 8)), IMAGES),
        (nn.Sequential(nn.Conv1d(3, 16, 3), nn.ReLU(), nn.Conv1d(16, 8, 3)), (2, 3, 20)),
        (nn.Sequential(conv(3, 16), nn.ConvTranspose2d(16, 12, 2, stride=2, groups=4), conv(12, 8)), IMAGES),
        (nn.Sequential(weight_norm(conv(3, 16)), nn.ReLU(), conv(16, 8)), IMAGES),
        (nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 4)), ROWS),
        (nets.Attention(), ROWS),
        (nets.FusedAttention(), ROWS),
        (nets.TorchAttention(), ROWS),
        (nn.Sequential(conv(3, 16), nn.ReLU(), conv(16, 8)).to(memory_format=torch.channels_last), IMAGES),
        (nn.Sequential(conv(3, 16), nn.ReLU(), conv(16, 8)).double(), IMAGES),
        (nn.Sequential(conv(3, 16), nn.ReLU(), conv(16, 8)).bfloat16(), IMAGES),
    ],
    ids=["grouped", "1d", "transposed", "weight norm", "linear", "attention", "fused", "torch", "channels last",
         "double", "bfloat16"],
)  # fmt: skip
def test_every_call_can_be_run_alone(
    model: nn.Module, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, own_cache_and_one_thread: Path
) -> None:
    monkeypatch.setattr(on_target, "ROUNDS", 1)
    state = torch.get_rng_state()
    graph = tui_prune.trace(model.eval(), torch.randn(shape).to(next(model.parameters()).dtype), grouped="whole")
    state = torch.get_rng_state()
    latency = LatencyModel(graph)
    latency.measure()
    assert torch.equal(state, torch.get_rng_state())
    names = {call.layer for call in graph.record.costs if call.layer}
    found = latency.by_layer(whole(graph))
    assert names <= found.keys()
    assert all(found[name] > 0 for name in names)
    remembered = json.loads((own_cache_and_one_thread / "latency.json").read_text())
    ((environment, calls),) = remembered.items()
    assert torch.__version__ in environment
    assert all(seconds > 0 for seconds in calls.values())


def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many calls each use of the clock was about."""
    found: list[int] = []

    def fastest(calls: Sequence[Any], device: torch.device) -> list[float | None]:
        found.append(len(calls))
        return [0.5] * len(calls)

    monkeypatch.setattr(stopwatch, "fastest", fastest)
    return found


def measured_calls() -> list[SizedCall]:
    graph = tui_prune.trace(chain(8, 8), torch.randn(IMAGES))
    costs = CostModel(graph)
    return [costs.sized_call(n, whole(graph)) for n in range(3)]


def test_measurements_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, asked = measured_calls(), runs(monkeypatch)
    assert Stopwatch(chain(8)).seconds(calls) == [0.5, 0.5, 0.5]
    assert Stopwatch(chain(8)).seconds(calls) == [0.5, 0.5, 0.5]
    assert asked == [3]
    Stopwatch(chain(8).double()).seconds(calls)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    Stopwatch(chain(8)).seconds(calls)
    assert asked == [3, 3, 3]


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '{"x": 3}', '{"x": {"y": "z"}}', "\x00\xff"])
def test_a_broken_memory_is_no_harm(
    content: str, monkeypatch: pytest.MonkeyPatch, own_cache_and_one_thread: Path
) -> None:
    own_cache_and_one_thread.mkdir(parents=True)
    (own_cache_and_one_thread / "latency.json").write_text(content, encoding="latin-1")
    calls, asked = measured_calls(), runs(monkeypatch)
    assert Stopwatch(chain(8)).seconds(calls) == [0.5, 0.5, 0.5]
    assert asked == [3]
    assert Stopwatch(chain(8)).seconds(calls) == [0.5, 0.5, 0.5]
    assert asked == [3]


def test_a_memory_that_can_t_be_written_is_no_harm(
    monkeypatch: pytest.MonkeyPatch, own_cache_and_one_thread: Path
) -> None:
    own_cache_and_one_thread.parent.mkdir()
    own_cache_and_one_thread.write_text("a file where the folder should be")
    runs(monkeypatch)
    assert Stopwatch(chain(8)).seconds(measured_calls()) == [0.5, 0.5, 0.5]


# Whole networks.


def test_memory_is_that_of_the_weights_and_of_what_is_alive_at_once() -> None:
    class Held(nn.Module):
        """Four tensors of 4 kB are alive when the most are: `x` doubled, and what is made of it three times."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(10))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x + x
            a, b = y + 1, y + 2
            c = a + b
            del a, b, y
            return (c * 2) * 2

    with torch.no_grad():
        assert peak_memory(Held(), (torch.ones(1000),), {}) == 40 + 4 * 4000


def test_measuring_leaves_a_network_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "ROUNDS", 1)
    model = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    model[2].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    (found,) = measure([model], (torch.randn(IMAGES, generator=torch.Generator().manual_seed(0)),))
    assert found.memory > 0
    assert [part.training for part in model] == [True, True, False]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


# The command line.


def call(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="tui-prune")


def test_bench_of_a_network_and_of_what_it_was_cut_to(tmp_path: Path) -> None:
    path = tmp_path / "pruned.pt"
    pruned = call("prune", "nin", "-o", path, "--ratio", "0.5", "--json")
    report = json.loads(pruned.stdout)
    done = call("bench", "nin", path, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert list(found) == ["model", "output", "input", "device", "latency", "memory", "macs", "params", "bytes"]
    assert (found["model"], found["output"], found["input"]) == ("nin", str(path), "1,3,32,32")
    for name in ("params", "macs", "bytes"):
        assert found[name] == report[name]
    assert 0 < found["memory"]["after"] < found["memory"]["before"]
    assert min(found["latency"].values()) > 0
    alone = call("bench", path)
    assert alone.exit_code == 0, alone.output
    assert [line.split()[0] for line in alone.stdout.splitlines()[:6]] == [
        "nin", "latency", "memory", "MACs", "parameters", "bytes"
    ]  # fmt: skip


def test_bench_of_a_network_from_a_file_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\ndef make():\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))\n"
    )
    spec, path = f"{tmp_path}/net.py:make", tmp_path / "out.pt"
    assert call("prune", spec, "--input", "1,3,8,8", "--ratio", "0.5", "-o", path).exit_code == 0
    done = call("bench", spec, path, "--input", "1,3,8,8", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["params"]["after"] < json.loads(done.stdout)["params"]["before"]


def test_bench_of_what_isn_t_there() -> None:
    for arguments in (("bench",), ("bench", "no_such_network"), ("bench", "nin", "no_such_file.pt")):
        done = call(*arguments)
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr


def test_latency_on_the_command_line(pretended: Any, tmp_path: Path) -> None:
    pretended(in_steps(16))
    done = call("prune", "nin", "-o", tmp_path / "out.pt", "--target-latency", "0.6", "--align", "auto", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["found"]["align"] == 16
    assert report["latency"]["predicted"] <= 0.6 * report["latency"]["before"]
    assert report["latency"]["after"] > 0
    done = call("prune", "nin", "-o", tmp_path / "other.pt", "--target-latency", "0.6")
    assert " predicted, " in done.stdout
    assert " measured\n" in done.stdout
    assert tui_prune.load(tmp_path / "out.pt") is not None
