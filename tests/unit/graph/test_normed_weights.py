"""Weight norm and spectral norm: what stays of a kernel is worth what it was, so that the cut network equals one whose
cut features are set to zero."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

import tui_prune
from tests.exactness import largest_error, prune_exactly, trains, widths
from tests.small_nets import IMAGES, conv

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")


def between(layer: nn.Module) -> nn.Module:
    """A normed layer from 16 channels to 12 that loses inputs and outputs."""
    return nn.Sequential(conv(3, 16), nn.ReLU(), layer, nn.ReLU(), conv(12, 4))


def by_hooks(kind: Callable[..., nn.Module], layer: nn.Module, **options: object) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return kind(layer, **options)


def ran(model: nn.Module) -> nn.Module:
    """After a pass, weights that hooks compute have no history that can't be copied."""
    with torch.no_grad():
        model.eval()(torch.randn(IMAGES))
    return model


def transposed(**options: int) -> nn.Module:
    return nn.ConvTranspose2d(16, 12, 4, 2, 1, **options)


class OwnWeightNorm(nn.Module):
    """Weight norm in the layer's own code, with its gain as a vector."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.gain, self.bias = nn.Parameter(torch.rand(outputs) + 0.5), nn.Parameter(torch.randn(outputs))

    def weight(self) -> Tensor:
        length = self.direction.pow(2).sum((1, 2, 3), keepdim=True).sqrt()
        return self.direction / length * self.gain.view(-1, 1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight(), self.bias)


NORMED = {
    "weight norm": lambda: weight_norm(conv(16, 12, 3)),
    "by columns": lambda: weight_norm(conv(16, 12, 3), dim=1),
    "by places": lambda: weight_norm(conv(16, 12, 3), dim=3),
    "over all": lambda: weight_norm(conv(16, 12, 3), dim=None),
    "grouped": lambda: weight_norm(conv(16, 12, 3, groups=2)),
    "grouped, by columns": lambda: weight_norm(conv(16, 12, 3, groups=2), dim=1),
    "grouped, over all": lambda: weight_norm(conv(16, 12, 3, groups=2), dim=None),
    "transposed": lambda: weight_norm(transposed()),
    "transposed, by outputs": lambda: weight_norm(transposed(), dim=1),
    "transposed and grouped": lambda: weight_norm(transposed(groups=2)),
    "hooks": lambda: by_hooks(nn.utils.weight_norm, conv(16, 12, 3)),
    "hooks, over all": lambda: by_hooks(nn.utils.weight_norm, conv(16, 12, 3), dim=None),
    "spectral norm": lambda: spectral_norm(conv(16, 12, 3)),
    "spectral, grouped": lambda: spectral_norm(conv(16, 12, 3, groups=2)),
    "spectral, transposed": lambda: spectral_norm(transposed()),
    "spectral by hooks": lambda: by_hooks(nn.utils.spectral_norm, conv(16, 12, 3)),
    "spectral by hooks, transposed": lambda: by_hooks(nn.utils.spectral_norm, transposed()),
    "one around the other": lambda: spectral_norm(weight_norm(conv(16, 12, 3))),
}


@pytest.mark.parametrize("kind", NORMED)
def test_kernels_stay_what_they_were(kind: str) -> None:
    model = ran(between(NORMED[kind]()))
    result = prune_exactly(model, torch.randn(IMAGES))
    assert result.report.equivalence.kind == "exact"
    assert widths(result) == {"0": (16, 8), "2": (12, 6), "4": (4, 4)}
    trains(result.model, torch.randn(IMAGES))


def test_depthwise_kernels_lose_nothing() -> None:
    model = nn.Sequential(conv(3, 16), weight_norm(conv(16, 16, 3, groups=16)), nn.ReLU(), conv(16, 4)).eval()
    assert widths(prune_exactly(model, torch.randn(IMAGES)))["1"] == (16, 8)


def test_weight_norm_in_ones_own_code() -> None:
    model = nn.Sequential(conv(3, 16), nn.ReLU(), OwnWeightNorm(16, 12), nn.ReLU(), conv(12, 4)).eval()
    result = tui_prune.prune(model, torch.randn(IMAGES), ratio=0.5)
    rows, columns = result.kept["2.direction/0"], result.kept["2.direction/1"]
    assert (len(rows), len(columns)) == (6, 8)
    kept = model[2].weight()[rows][:, columns]
    assert largest_error(result.model[2].weight(), kept) < 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_half_precision_is_proved_before_it_is_rounded(dtype: torch.dtype) -> None:
    model = between(weight_norm(conv(16, 12, 3))).eval().to(dtype)
    result = tui_prune.prune(model, torch.randn(IMAGES).to(dtype), ratio=0.5)
    assert widths(result) == {"0": (16, 8), "2": (12, 6), "4": (4, 4)}
    rows, columns = (result.kept[f"2.parametrizations.weight.original1/{dim}"] for dim in (0, 1))
    kept = model[2].weight[rows][:, columns]
    assert largest_error(result.model[2].weight, kept) <= 2 * torch.finfo(dtype).eps
    assert result.report.equivalence.kind == "exact"


def test_a_gain_that_two_layers_share_is_left_alone() -> None:
    """What one of them needs would change the other: their norms count what is left, as other statistics do."""
    model = nn.Sequential(conv(3, 16), nn.ReLU(), weight_norm(conv(16, 16)), nn.ReLU(), weight_norm(conv(16, 16)))
    model.append(conv(16, 4))
    model[4].parametrizations.weight.original0 = model[2].parametrizations.weight.original0
    result = tui_prune.prune(model.eval(), torch.randn(IMAGES), ratio=0.5, layers={"0": 0.0})
    assert result.report.equivalence.kind == "exact"


def test_a_saved_one_loads_with_the_same_kernels(tmp_path: Path) -> None:
    model = between(spectral_norm(weight_norm(conv(16, 12, 3)))).eval()
    result = tui_prune.prune(model, torch.randn(IMAGES), ratio=0.5)
    tui_prune.save(tmp_path / "pruned.pt", result)
    loaded = tui_prune.load(tmp_path / "pruned.pt", model=between(spectral_norm(weight_norm(conv(16, 12, 3)))))
    assert largest_error(loaded[2].weight, result.model[2].weight) < 1e-6


def test_the_weight_that_a_hook_keeps_is_up_to_date() -> None:
    model = ran(between(NORMED["hooks"]()))
    result = tui_prune.prune(model, torch.randn(IMAGES), ratio=0.5)
    rows, columns = (result.kept[f"2.weight_v/{dim}"] for dim in (0, 1))
    assert largest_error(result.model[2].weight, model[2].weight[rows][:, columns]) < 1e-6


@pytest.mark.parametrize("kind", [kind for kind in NORMED if "grouped" not in kind])
@pytest.mark.parametrize("layers", [{"0": 0.95}, {"2": 0.95}, {"0": 0.95, "2": 0.95}], ids=str)
def test_kernels_of_a_single_row_or_column_stay_what_they_were(kind: str, layers: dict[str, float]) -> None:
    model = ran(between(NORMED[kind]()))
    result = prune_exactly(model, torch.randn(IMAGES), layers=layers)
    assert result.report.equivalence.kind == "exact"
