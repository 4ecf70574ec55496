"""What is given to the engine stays as it is, whether a cut is made, only planned, or fails half-way."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

import tui_prune
from tests import small_nets as nets
from tests.exactness import largest_error
from tests.small_nets import IMAGES, ROWS, conv

IMAGE = torch.randn(IMAGES, generator=torch.Generator().manual_seed(0))


SQUARES = tui_prune.Task(calibration=lambda: [IMAGE, IMAGE + 1], loss=lambda output, targets: output.square().mean())


class Busy(nn.Module):
    """Everything that a trace could disturb: statistics, counters, noise, computed weights, hooks, gradients."""

    def __init__(self, *, raises: bool = False) -> None:
        super().__init__()
        self.raises = raises
        self.a, self.norm, self.drop = conv(3, 16, 3), nn.BatchNorm2d(16), nn.Dropout(0.5)
        self.b, self.instance = spectral_norm(conv(16, 12)), nn.InstanceNorm2d(12, track_running_stats=True)
        self.never = conv(16, 16)
        self.out = conv(12, 8)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("average", torch.zeros(16))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        y = self.drop(self.norm(self.a(x)).relu())
        self.average.mul_(0.9).add_(y.detach().mean((0, 2, 3)), alpha=0.1)
        y = y + 1e-3 * torch.rand(())
        if self.raises:
            raise ValueError("the forward pass of this test raises")
        return self.out(self.instance(self.b(y)).relu())


def busy(*, raises: bool = False) -> Busy:
    """In train mode but for one norm, in the middle of training."""
    torch.manual_seed(0)
    model = Busy(raises=False).train()
    model(IMAGE).square().mean().backward()
    model.raises = raises
    model.norm.eval()
    model.a.bias.requires_grad_(False)
    model.out.register_forward_hook(lambda module, inputs, output: None)
    model.a.register_forward_pre_hook(lambda module, inputs: None)
    model.out.weight.register_hook(lambda gradient: gradient)
    return model


def everything(model: nn.Module) -> dict[str, Any]:
    """All that a user could notice of a model, by name, and the process-wide state beside it."""
    found: dict[str, Any] = {
        "random state": torch.get_rng_state(),
        "gradients on": torch.is_grad_enabled(),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "default type": torch.get_default_dtype(),
        "printout": str(model),
    }
    for name, module in model.named_modules():
        found[f"{name}: training"] = module.training
        found[f"{name}: attributes"] = sorted(vars(module))
        for hooks in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_state_dict_hooks"):
            found[f"{name}: {hooks}"] = [id(hook) for hook in getattr(module, hooks).values()]
    for name, parameter in model.named_parameters():
        found[f"{name}: object"] = id(parameter)
        found[f"{name}: memory"] = parameter.data_ptr(), parameter.stride()
        found[f"{name}: value"] = parameter.detach().clone()
        found[f"{name}: requires gradient"] = parameter.requires_grad
        found[f"{name}: gradient"] = None if parameter.grad is None else parameter.grad.clone()
        found[f"{name}: hooks"] = len(parameter._backward_hooks or ())
    for name, buffer in model.named_buffers():
        found[f"{name}: object"] = id(buffer)
        found[f"{name}: value"] = buffer.clone()
    return found


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert before.keys() == after.keys()
    changed = [
        what
        for what, value in before.items()
        if not (torch.equal(value, after[what]) if isinstance(value, Tensor) else value == after[what])
    ]
    assert not changed


@pytest.fixture(autouse=True)
def one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "use",
    [
        lambda model: tui_prune.prune(model, IMAGE, ratio=0.5),
        lambda model: tui_prune.prune(model, IMAGE),
        lambda model: tui_prune.trace(model, IMAGE),
        lambda model: tui_prune.trace(model, IMAGE, probing=False),
        lambda model: tui_prune.plan(tui_prune.trace(model, IMAGE), ratio=0.5, criterion="bn_scale"),
        lambda model: tui_prune.prune(model, IMAGE, ratio=0.5, criterion="taylor", task=SQUARES),
        lambda model: tui_prune.prune(model, IMAGE, ratio=0.5, criterion="activation", task=SQUARES),
        lambda model: tui_prune.prune(model, IMAGE, target_latency=1.0, align=2),
    ],
    ids=["prune", "prune nothing", "trace", "trace without a trial", "plan", "taylor", "activation", "latency"],
)
def test_model_is_as_before(use: Callable[[nn.Module], Any]) -> None:
    model = busy()
    before = everything(model)
    use(model)
    assert_same(before, everything(model))


@pytest.mark.parametrize("fast_path", [True, False])
def test_switch_of_the_fast_path_is_as_before(fast_path: bool) -> None:
    at_first = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fast_path)
    try:
        tui_prune.prune(nets.TorchAttention(), torch.randn(ROWS), ratio=0.5)
        assert torch.backends.mha.get_fastpath_enabled() is fast_path
    finally:
        torch.backends.mha.set_fastpath_enabled(at_first)


def test_buffer_that_the_forward_pass_replaces_is_as_before() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.out = conv(3, 16), conv(16, 8)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.calls = self.calls + 1
            return self.out(self.a(x))

    model = Counts()
    result = tui_prune.prune(model, IMAGE, ratio=0.5)
    assert model.calls == 0
    assert result.model.calls == 0


def stopped(stage: str, share: float) -> None:
    if stage == "cut":
        raise tui_prune.Cancelled


@pytest.mark.parametrize(
    ("fail", "raised", "sentence"),
    [
        (
            lambda: (busy(raises=True), {"ratio": 0.5}),
            tui_prune.TuiPruneError,
            r"forward pass fails .*test_model_left_alone.py:\d+: raise ValueError.*this test raises",
        ),
        (lambda: (busy(), {"ratio": 1.5}), tui_prune.UsageError, "ratio must be a share"),
        (lambda: (busy(), {"layers": {"missing": 0.5}}), tui_prune.UsageError, "No layer is called missing"),
        (lambda: (busy(), {"ratio": 0.5, "progress": stopped}), tui_prune.Cancelled, "nothing was written"),
        (lambda: (with_nan(busy()), {"ratio": 0.5}), tui_prune.TuiPruneError, "not finite"),
    ],
    ids=["forward raises", "wrong ratio", "unknown layer", "cancelled", "weights not finite"],
)
@pytest.mark.parametrize("inplace", [False, True], ids=["copy", "in place"])
def test_model_is_as_before_when_pruning_fails(
    fail: Callable[[], Any], raised: type[Exception], sentence: str, inplace: bool
) -> None:
    model, choices = fail()
    before = everything(model)
    with pytest.raises(raised, match=sentence):
        tui_prune.prune(model, IMAGE, inplace=inplace, **choices)
    after = everything(model)
    assert str(before.pop("a.weight: value").tolist()) == str(after.pop("a.weight: value").tolist())
    assert_same(before, after)


def with_nan(model: Busy) -> Busy:
    model.a.weight.data[0, 0] = float("nan")
    return model


def test_input_is_as_before() -> None:
    image = IMAGE.clone().requires_grad_()
    tui_prune.prune(nn.Sequential(nn.ReLU(inplace=False), conv(3, 16), conv(16, 8)), image, ratio=0.5)
    assert torch.equal(image.detach(), IMAGE)
    assert image.grad is None


# The cut network is another network.


def weight_norm_in_train_mode() -> nn.Module:
    return nn.Sequential(weight_norm(conv(3, 16)), nn.ReLU(), conv(16, 8)).train()


@pytest.mark.parametrize("ratio", [0.0, 0.5])
@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (busy, IMAGES),
        (nets.Residual, IMAGES),
        (nets.BufferScale, IMAGES),
        (nets.PlainTensor, IMAGES),
        (nets.TiedLayers, IMAGES),
        (nets.NeverUsed, IMAGES),
        (nets.FixedSlice, IMAGES),
        (weight_norm_in_train_mode, IMAGES),
        (nets.Recurrent, ROWS),
        (nets.TorchAttention, ROWS),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_cut_network_shares_no_memory_with_the_original(
    build: Callable[[], nn.Module], shape: tuple[int, ...], ratio: float
) -> None:
    model = build()
    result = tui_prune.prune(model, torch.randn(shape), ratio=ratio)
    assert result.model is not model
    assert not memories(model) & memories(result.model)
    assert not {id(part) for part in model.modules()} & {id(part) for part in result.model.modules()}


def memories(model: nn.Module) -> set[int]:
    tensors = [*model.parameters(), *model.buffers()]
    tensors += [value for part in model.modules() for value in vars(part).values() if isinstance(value, Tensor)]
    return {tensor.untyped_storage().data_ptr() for tensor in tensors}


def test_training_the_cut_network_leaves_the_original_alone() -> None:
    model = busy()
    result = tui_prune.prune(model, IMAGE, ratio=0.5)
    before = everything(model)
    optimizer = torch.optim.SGD([p for p in result.model.parameters() if p.requires_grad], lr=0.1)
    result.model(IMAGE).square().mean().backward()
    optimizer.step()
    torch.set_rng_state(before["random state"])
    assert_same(before, everything(model))


def test_cut_network_has_the_modes_of_the_original() -> None:
    model = busy()
    result = tui_prune.prune(model, IMAGE, ratio=0.5)
    assert result.model.a.weight.shape[0] == 8
    originals = dict(model.named_modules())
    assert all(part.training == originals[name].training for name, part in result.model.named_modules())
    assert {name: p.requires_grad for name, p in result.model.named_parameters()} == {
        name: p.requires_grad for name, p in model.named_parameters()
    }
    assert all(parameter.grad is None for parameter in result.model.parameters())
    assert len(result.model.out._forward_hooks) == 1
    assert torch.equal(result.model.calls, model.calls)


# In place.


def test_in_place_the_given_module_becomes_the_cut_one() -> None:
    model = busy().eval()
    parameters = dict(model.named_parameters())
    copied = tui_prune.prune(model, IMAGE, ratio=0.5)
    result = tui_prune.prune(model, IMAGE, ratio=0.5, inplace=True)
    assert result.model is model
    assert {name: id(p) for name, p in model.named_parameters()} == {name: id(p) for name, p in parameters.items()}
    assert model.a.weight.shape == (8, 3, 3, 3)
    assert str(model) == str(copied.model)
    assert {name: tuple(t.shape) for name, t in model.state_dict().items()} == {
        name: tuple(t.shape) for name, t in copied.model.state_dict().items()
    }
    torch.manual_seed(0)
    expected = copied.model(IMAGE)
    torch.manual_seed(0)
    assert largest_error(model(IMAGE), expected) == 0


def test_in_place_an_optimizer_goes_on_with_the_parameters_that_it_holds() -> None:
    model = nn.Sequential(conv(3, 16), nn.BatchNorm2d(16), nn.ReLU(), conv(16, 8)).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(IMAGE).square().mean().backward()
    gradient = model[3].bias.grad.clone()
    tui_prune.prune(model, IMAGE, ratio=0.5, inplace=True)
    assert model[0].weight.grad is None
    assert torch.equal(model[3].bias.grad, gradient)
    before = model[0].weight.detach().clone()
    optimizer.zero_grad()
    model(IMAGE).square().mean().backward()
    optimizer.step()
    assert model.training
    assert not torch.equal(model[0].weight, before)


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: nn.Sequential(spectral_norm(conv(3, 16)), nn.ReLU(), spectral_norm(conv(16, 8)), conv(8, 4)), IMAGES),
        (weight_norm_in_train_mode, IMAGES),
        (nets.TiedLayers, IMAGES),
        (nets.BufferScale, IMAGES),
        (nets.NeverUsed, IMAGES),
        (lambda: nn.Sequential(conv(3, 16), conv(16, 48, groups=16), conv(48, 8)), IMAGES),
        (lambda: nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.Linear(16, 4)), ROWS),
    ],
    ids=["spectral norm", "weight norm", "tied layers", "buffer", "never used", "depthwise", "layer norm"],
)
@torch.no_grad()
def test_in_place_equals_the_copy(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model, inputs = build().eval(), torch.randn(shape)
    twin = copy.deepcopy(model)
    expected = tui_prune.prune(twin, inputs, ratio=0.5).model
    tui_prune.prune(model, inputs, ratio=0.5, inplace=True)
    assert str(model) == str(expected)
    assert largest_error(model(inputs), expected(inputs)) == 0


class Codebook(nn.Module):
    """Moves a frozen parameter along in train mode, past autograd, as codebooks do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.a, self.out = conv(3, 16), conv(16, 16), conv(16, 8)
        self.codes = nn.Parameter(torch.randn(5, 16), requires_grad=False)
        self.scale = nn.Parameter(torch.full((16,), 2.0))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(self.first(x).relu())
        if self.training:
            self.codes.data.copy_(self.codes * 0.5)
            self.scale.data.clamp_(max=1.0)
        codes = self.codes[(x.mean((2, 3)) @ self.codes.t()).argmax(1)]
        return self.out((x + codes[:, :, None, None]) * self.scale[:, None, None])


def test_parameters_that_train_mode_writes_over_are_as_before() -> None:
    torch.manual_seed(0)
    model = Codebook()
    before = copy.deepcopy(model.state_dict())
    result = tui_prune.prune(model, IMAGE, ratio=0.5)
    assert result.report.params.after < result.report.params.before
    for network in (model, result.model):
        kept = dict(zip(("codes/1", "scale/0"), [torch.arange(16)] * 2, strict=True))
        kept |= {name: result.kept[name] for name in kept if network is result.model and name in result.kept}
        assert torch.equal(network.codes, before["codes"].index_select(1, kept["codes/1"]))
        assert torch.equal(network.scale, before["scale"].index_select(0, kept["scale/0"]))
