"""The test of all tests: a cut network beside the masked original, masked by hand and not by the engine.

All that is taken from the engine is the list of positions that it says it kept. From the original the input columns of
every other channel are set to zero; norms with statistics over channels are given the kept ones only; then both
networks see inputs that the engine never saw.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_map

import tui_prune

TOLERANCE = 1e-4
TELLING = 1e-3
"""A mask that moves the output by less than this (relative) shows nothing."""

Kept = Mapping[str, Tensor]
Reference = Callable[[Any, Kept], None]


def randomise_norms(model: nn.Module) -> nn.Module:
    """Random statistics and scales, so that a channel in the wrong place shows."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            if module.weight is not None:
                module.weight.data.uniform_(0.5, 1.5, generator=generator)
                module.bias.data.normal_(0, 0.1, generator=generator)
            if module.running_mean is not None:
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
        elif isinstance(module, (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)) and module.weight is not None:
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            if getattr(module, "bias", None) is not None:
                module.bias.data.normal_(0, 0.1, generator=generator)
    return model


def prune_exactly(
    model: nn.Module,
    inputs: Any,
    *,
    kwargs: Mapping[str, Any] | None = None,
    reference: Reference | None = None,
    telling: bool = True,
    **recipe: Any,
) -> tui_prune.Result:
    """Prune (by half, if the recipe doesn't say) and hold the cut network to the masked original on new inputs.

    The original must stay as it was. `reference` changes the masked original where zeros in its weights aren't enough
    (a softmax over channels). With `telling`, a cut that leaves the output as it was fails: it would prove nothing.
    """
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    kwargs = dict(kwargs or {})
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = tui_prune.prune(model, inputs, example_kwargs=kwargs, **{"ratio": 0.5, **recipe})
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert_exact(model, result, inputs, kwargs, reference=reference, telling=telling)
    return result


@torch.no_grad()
def assert_exact(
    model: nn.Module,
    result: tui_prune.Result,
    inputs: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    reference: Reference | None = None,
    telling: bool = True,
) -> None:
    """The cut network and the masked original say the same on new inputs; half precision is compared in float32."""
    plain, masked = copy.deepcopy(model).eval(), masked_original(model, result, reference)
    cut = copy.deepcopy(result.model).eval()
    inputs, kwargs = other_values((inputs, dict(kwargs or {})))
    if any(p.dtype in (torch.float16, torch.bfloat16) for p in model.parameters()):
        plain, masked, cut = plain.float(), masked.float(), cut.float()
        inputs, kwargs = tree_map(lambda t: t.float() if _is_floating(t) else t, (inputs, kwargs))
    expected = masked(*inputs, **kwargs)
    assert largest_error(cut(*inputs, **kwargs), expected) < TOLERANCE
    if telling and result.plan.cuts:
        assert largest_error(plain(*inputs, **kwargs), expected) > TELLING


def other_values(inputs: Any) -> Any:
    """New numbers of the same shapes; whole numbers (positions) stay."""
    generator = torch.Generator().manual_seed(1)

    def other(value: Any) -> Any:
        if not _is_floating(value):
            return value
        return torch.randn(value.shape, generator=generator).to(value.dtype)

    return tree_map(other, inputs)


def masked_original(model: nn.Module, result: tui_prune.Result, reference: Reference | None = None) -> nn.Module:
    """The original with zeros in every weight that reads a cut channel, and norms over the kept channels only."""
    masked = copy.deepcopy(model).eval()
    kept = _by_every_name(model, result.kept)
    kept |= settle_normed_weights(masked, kept)
    done: set[int] = set()
    for name, module in masked.named_modules():
        if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)):
            for own, weight in _weights(name, module):
                if id(weight) not in done:
                    done.add(id(weight))
                    _mask_columns(module, weight, own, kept)
        elif isinstance(module, (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)) and module.weight is not None:
            for dim in range(module.weight.dim()):
                if f"{name}.weight/{dim}" in kept:
                    count_only(module, kept[f"{name}.weight/{dim}"], dim)
    if reference is not None:
        reference(masked, kept)
    return masked


def settle_normed_weights(model: nn.Module, kept: Kept) -> dict[str, Tensor]:
    """Put the weights that weight norm and spectral norm compute in their place, as plain ones: a cut mustn't change
    them. Returns the kept positions on these."""
    found = {}
    for name, module in model.named_modules():
        normed: dict[str, tuple[str, Tensor]] = {}
        for own, chain in getattr(module, "parametrizations", {}).items():
            if any(type(part).__name__ in ("_WeightNorm", "_SpectralNorm") for part in chain):
                source = "original1" if hasattr(chain, "original1") else "original"
                normed[own] = f"parametrizations.{own}.{source}", getattr(module, own).detach()
        if normed:  # the class is that of the uncopied module too, so nothing may be taken from it
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module.parametrizations
        for key, hook in list(module._forward_pre_hooks.items()):
            if type(hook).__name__ in ("WeightNorm", "SpectralNorm"):
                hook.remove(module)
                del module._forward_pre_hooks[key]
                source = f"{hook.name}_{'v' if type(hook).__name__ == 'WeightNorm' else 'orig'}"
                normed[hook.name] = source, module.get_parameter(hook.name).detach()
        for own, (source, weight) in normed.items():
            setattr(module, own, nn.Parameter(weight))
            axes = {f"{name}.{own}/{dim}": f"{name}.{source}/{dim}" for dim in range(weight.dim())}
            found |= {axis: kept[former] for axis, former in axes.items() if former in kept}
    return found


def _by_every_name(model: nn.Module, kept: Kept) -> dict[str, Tensor]:
    """The kept positions of a parameter that has several names, by each of them."""
    names: dict[int, list[str]] = {}
    for name, tensor in [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]:
        names.setdefault(id(tensor), []).append(name)
    found = dict(kept)
    for same in names.values():
        for axis in [axis for axis in kept if axis.rpartition("/")[0] in same]:
            found.update({f"{name}/{axis.rpartition('/')[2]}": kept[axis] for name in same})
    return found


def _weights(name: str, module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The parameters that a layer's weight is, or is computed from."""
    for own, parameter in module.named_parameters():
        if parameter.dim() > 1:
            yield f"{name}.{own}".removeprefix("."), parameter


def _mask_columns(module: nn.Module, weight: Tensor, name: str, kept: Kept) -> None:
    """Zero what reads a cut channel."""
    groups, transposed = getattr(module, "groups", 1), getattr(module, "transposed", False)
    rows, columns = kept.get(f"{name}/0"), kept.get(f"{name}/1")
    mask = torch.ones_like(weight)
    if transposed and rows is not None:
        mask = torch.zeros_like(weight).index_fill_(0, rows, 1)
    elif not transposed and columns is not None and groups == 1:
        mask = torch.zeros_like(weight).index_fill_(1, columns, 1)
    elif not transposed and columns is not None:
        mask = torch.zeros_like(weight)
        size = weight.shape[0] // groups
        present = torch.arange(weight.shape[0]) if rows is None else rows
        alive = torch.unique_consecutive(present // size).tolist()
        for group, own in zip(alive, columns, strict=True):
            mask[group * size : (group + 1) * size].index_fill_(1, own, 1)
    weight.data = weight.data * mask


def count_only(module: Any, channels: Tensor, own_dim: int = 0) -> None:
    """Let a norm see the kept channels alone: its statistics are theirs; the others become zero.

    They lie along dimension `own_dim` of the norm's weight. Of a group norm, groups that nothing is left of don't
    count.
    """
    small = copy.deepcopy(module)
    for name in ("weight", "bias"):
        if getattr(small, name, None) is not None:
            setattr(small, name, nn.Parameter(getattr(small, name).detach().index_select(own_dim, channels)))
    if isinstance(small, nn.GroupNorm):
        small.num_groups = len((channels // (module.num_channels // module.num_groups)).unique())
        small.num_channels = len(channels)
        dim = 1
    else:
        shape = list(module.normalized_shape)
        shape[own_dim] = len(channels)
        small.normalized_shape = tuple(shape)
        dim = 1 if type(module).__name__ == "LayerNorm2d" else own_dim - len(shape)

    def forward(x: Tensor) -> Tensor:
        return torch.zeros_like(x).index_copy(dim, channels, small(x.index_select(dim, channels)))

    module.forward = forward


_HEADS = {
    "MultiheadAttention": ("in_proj_weight", "in_proj_bias", True),
    "Attention": ("qkv.weight", "qkv.bias", True),
    "ShiftedWindowAttention": ("qkv.weight", "qkv.bias", False),
    "ShiftedWindowAttention3d": ("qkv.weight", "qkv.bias", False),
    "RelativePositionalMultiHeadAttention": ("to_qkv.weight", "to_qkv.bias", False),
}
"""By class, the parameters that make queries, keys and values, and whether attention is the fused operator's."""


def only_kept_heads(masked: nn.Module, kept: Kept) -> None:
    """Queries, keys and values of the masked original are zero where they are cut: no layer reads them, attention does.

    The fused attention of PyTorch divides by the root of the size of a head, whatever that is; the other networks here
    multiply with a number, and what that was is kept.
    """
    for name, part in masked.named_modules():
        weight_name, bias_name, fused = _HEADS.get(type(part).__name__, ("", "", False))
        rows = kept.get(f"{name}.{weight_name}/0")
        if rows is None:
            continue
        weight, bias = part.get_parameter(weight_name), part.get_parameter(bias_name)
        factors = torch.zeros(len(weight))
        factors[rows] = 1
        if fused:
            factors[: len(weight) // 3] *= (len(weight) / len(rows)) ** 0.5
        weight.data *= factors[:, None]
        bias.data *= factors


def largest_error(one: object, other: object) -> float:
    """The largest difference over the largest value, over all floating tensors of two outputs."""
    ours, theirs = ([tensor.detach() for tensor in _tensors(outputs)] for outputs in (one, other))
    assert ours
    assert [t.shape for t in ours] == [t.shape for t in theirs]
    assert all(bool(t.isfinite().all()) for t in (*ours, *theirs))
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-30)) for a, b in zip(ours, theirs, strict=True))


def widths(result: tui_prune.Result) -> dict[str, tuple[int, int]]:
    """Output width of each layer before and after."""
    return {layer.name: (layer.before, layer.after) for layer in result.plan.layers if layer.producer}


def _is_floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value.double()
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif hasattr(value, "__dataclass_fields__"):
        yield from _tensors(list(vars(value).values()))


def trains(model: nn.Module, *inputs: Any, **kwargs: Any) -> None:
    """A copy of the network runs forward and backward in train mode and every parameter learns something."""
    model = copy.deepcopy(model).train()
    total = torch.zeros((), dtype=torch.float64)
    for output in _tensors(model(*inputs, **kwargs)):
        total = total + output.square().mean()
    total.backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.shape == parameter.shape
        assert bool(parameter.grad.isfinite().all())
