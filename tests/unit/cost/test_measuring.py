"""Costs that the plan foretells beside those of the cut module: its parameters, torch's own count of operations, and
the largest tensor that one of its operators makes. All exactly."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

import tui_prune
from tests import small_nets as nets
from tests.small_nets import IMAGES, ROWS, conv
from tui_prune.cost.bench import benchmark
from tui_prune.cost.cost import Cost
from tui_prune.models import factory


@pytest.fixture(autouse=True)
def plain_attention() -> Iterator[None]:
    """One thread, and attention operator by operator: its fused fast path counts no operations."""
    threads, fast_path = torch.get_num_threads(), torch.backends.mha.get_fastpath_enabled()
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
    torch.backends.mha.set_fastpath_enabled(fast_path)


class LargestTensor(TorchDispatchMode):
    """Notes the bytes of the largest tensor that an operator makes; views and in-place results are none of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        known = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in known:
                self.bytes = max(self.bytes, tensor.numel() * tensor.element_size())
        return out


@torch.no_grad()
def measured(model: nn.Module, inputs: tuple[Any, ...]) -> Cost:
    """What a module really has and does."""
    model.eval()
    parameters = list(model.parameters())
    with FlopCounterMode(display=False) as operations:
        model(*inputs)
    with LargestTensor() as largest:
        model(*inputs)
    return Cost(
        params=sum(p.numel() for p in parameters),
        macs=operations.get_total_flops() // 2,
        bytes=sum(p.numel() * p.element_size() for p in parameters),
        activation_bytes=largest.bytes,
    )


def check(model: nn.Module, inputs: Any, *, whole: bool = True, **recipe: Any) -> tui_prune.Result:
    """The plan's numbers are those of the modules; with `whole`, the layers' numbers add up to them."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    result = tui_prune.prune(model, inputs, **{"ratio": 0.5, **recipe})
    plan = result.plan
    assert plan.cuts
    assert plan.before == measured(model, inputs)
    assert plan.after == measured(result.model, inputs)
    if whole:
        for quantity in ("params", "macs", "bytes"):
            for when, cost in enumerate((plan.before, plan.after)):
                assert sum(getattr(layer, quantity)[when] for layer in plan.layers) == getattr(cost, quantity)
    report = result.report.to_dict()
    assert report["params"] == {"before": plan.before.params, "after": plan.after.params}
    assert report["macs"] == {"before": plan.before.macs, "after": plan.after.macs}
    assert report["bytes"] == {"before": plan.before.bytes, "after": plan.after.bytes}
    return result


def stack(*layers: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*layers)


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (stack(conv(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), conv(16, 8, 3)), IMAGES),
        (stack(nn.Conv1d(3, 16, 3), nn.ReLU(), nn.Conv1d(16, 8, 3)), (2, 3, 20)),
        (stack(nn.Conv3d(3, 16, 3), nn.ReLU(), nn.Conv3d(16, 8, 3)), (2, 3, 6, 6, 6)),
        (stack(conv(3, 16), conv(16, 24, 3, groups=4), nn.ReLU(), conv(24, 8)), IMAGES),
        (stack(conv(3, 16), conv(16, 48, 3, groups=16), nn.ReLU(), conv(48, 8)), IMAGES),
        (stack(conv(3, 16), nn.ConvTranspose2d(16, 12, 2, stride=2), nn.ReLU(), conv(12, 8)), IMAGES),
        (stack(conv(3, 16), nn.ConvTranspose2d(16, 12, 2, stride=2, groups=4), nn.ReLU(), conv(12, 8)), IMAGES),
        (stack(nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 4)), ROWS),
        (stack(conv(3, 16), nn.GroupNorm(4, 16), nn.ReLU(), conv(16, 8)), IMAGES),
        (stack(weight_norm(conv(3, 16)), nn.ReLU(), weight_norm(conv(16, 8)), conv(8, 4)), IMAGES),
        (nets.Residual, IMAGES),
        (nets.DenseBlock, IMAGES),
        (nets.OneHalfGoesThrough, IMAGES),
        (nets.SqueezeExcitation, IMAGES),
        (nets.SharedLayer, IMAGES),
        (nets.ToLinear, IMAGES),
        (nets.PaddedShortcut, IMAGES),
        (nets.FixedView, (1, 3, 8, 8)),
        (nets.HalvesWritten, IMAGES),
        (nets.AuxiliaryHead, IMAGES),
    ],
    ids=["conv 2d", "conv 1d", "conv 3d", "grouped", "multiplier", "transposed", "transposed grouped", "layer norm",
         "group norm", "weight norm", "residual", "dense", "half", "squeeze", "shared", "to linear", "padded",
         "fixed view", "halves written", "auxiliary head"],
)  # fmt: skip
def test_small_networks(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    check(build().eval(), torch.randn(shape), whole=build is not nets.AuxiliaryHead)


@pytest.mark.parametrize(
    ("build", "shape"),
    [(nets.Attention, ROWS), (nets.FusedAttention, ROWS), (nets.TorchAttention, ROWS)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_attention(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    check(build().eval(), torch.randn(shape), whole=False)


@pytest.mark.parametrize("layers", [[(48, 48, 4), (48, 48, 6)], [(32, 64, 32), (64, 128, 16)]], ids=str)
@pytest.mark.parametrize("mode", ["auto", "even"])
def test_channel_shuffle_between_grouped_convolutions(layers: list[tuple[int, int, int]], mode: str) -> None:
    model = nets.GroupedChain(layers, (1, layers[0][2])).eval()
    check(model, torch.randn(1, 3, 4, 4), grouped=mode)


def test_outputs_that_were_unlocked_count_as_cut() -> None:
    result = check(nets.Residual().eval(), torch.randn(IMAGES), unlock=("out",))
    assert result.plan.layer("out").after == 4


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_bytes_follow_the_number_format(dtype: torch.dtype) -> None:
    check(nets.Residual().eval().to(dtype), torch.randn(IMAGES).to(dtype))


def test_parameters_outside_of_layers_count_too() -> None:
    """A bare parameter belongs to no layer; the whole has it all the same."""
    result = check(nets.Tokens().eval(), torch.randn(ROWS), whole=False)
    assert result.plan.before.params == 6 * 16 + 16 + 7 * 16 + 16 * 12 + 12 + 12 * 8 + 8


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d(16, affine=True), nn.PReLU(16), nn.BatchNorm2d(16)], ids=str)
def test_every_module_with_parameters_has_its_row(norm: nn.Module) -> None:
    check(nn.Sequential(conv(3, 16), norm, conv(16, 8)).eval(), torch.randn(IMAGES))


def test_largest_tensor_may_be_one_that_no_layer_makes() -> None:
    check(nn.Sequential(nn.Upsample(scale_factor=4), conv(3, 16, 3, stride=4), conv(16, 8)).eval(), torch.randn(IMAGES))


def test_positions_of_maxima_take_memory_too() -> None:
    check(nn.Sequential(conv(3, 16), nn.MaxPool2d(3, 1, 1), conv(16, 8)).eval(), torch.randn(IMAGES))


@pytest.mark.parametrize(
    "name",
    ["nin", "nin_plain_conv", "nin_separable", "nin_separable_expanded", "nin_grouped_same_width", "nin_grouped_wide"],
)
def test_bundled_networks(name: str) -> None:
    check(factory(name)().eval(), torch.randn(1, 3, 32, 32))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "shufflenet_v2_x0_5", "squeezenet1_1"])
def test_networks_of_torchvision(name: str) -> None:
    check(getattr(torchvision.models, name)().eval(), torch.randn(1, 3, 64, 64))


def test_costs_of_any_ratio_and_alignment() -> None:
    model = factory("nin")().eval()
    for recipe in ({"ratio": 0.9}, {"ratio": 0.3, "align": 16}, {"ratio": 0.6, "scope": "global", "criterion": "l1"}):
        check(model, torch.randn(1, 3, 32, 32), **recipe)


def test_nothing_cut_costs_what_it_did() -> None:
    plan = tui_prune.plan(tui_prune.trace(nets.Residual().eval(), torch.randn(IMAGES)))
    assert plan.before == plan.after
    assert not any(pair.changed for layer in plan.layers for pair in (layer.params, layer.macs, layer.bytes))


def test_networks_whose_inputs_have_names_are_benched(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layer = nn.Linear(6, 3)\n"
        "    def forward(self, a, *, mask):\n"
        "        return self.layer(a * mask)\n"
    )
    report, _ = benchmark(f"{tmp_path / 'net.py'}:Net", input_spec="2,6;mask=2,6")
    assert report["macs"]["before"] == 36 and report["latency"]["before"] > 0
