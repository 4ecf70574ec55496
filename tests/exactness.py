"""The test of all tests: a cut network beside the masked original, masked by hand and not by the engine."""

import copy

import torch
from torch import nn

import tui_prune

TOLERANCE = 1e-4


def randomise_norms(model: nn.Module) -> nn.Module:
    """Random statistics and scales, so that a channel in the wrong place shows."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            if module.weight is not None:
                module.weight.data.uniform_(0.5, 1.5, generator=generator)
                module.bias.data.normal_(0, 0.1, generator=generator)
            if module.running_mean is not None:
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model


def masked_original(model: nn.Module, result: tui_prune.Result) -> nn.Module:
    """The original with zeros in every weight that reads a cut channel. For layers without computed weights."""
    masked = copy.deepcopy(model).eval()
    for name, module in masked.named_modules():
        if not isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
            continue
        groups, transposed = getattr(module, "groups", 1), getattr(module, "transposed", False)
        positions = result.kept.get(f"{name}.weight/{0 if transposed else 1}")
        if positions is None or (transposed and groups > 1):
            continue
        mask = torch.zeros_like(module.weight)
        if groups == 1:
            mask.index_fill_(0 if transposed else 1, positions, 1)
        else:
            rows = result.kept.get(f"{name}.weight/0", torch.arange(module.weight.shape[0]))
            size = module.weight.shape[0] // groups
            alive = torch.unique_consecutive(rows // size).tolist()
            for group, columns in zip(alive, positions, strict=True):
                mask[group * size : (group + 1) * size].index_fill_(1, columns, 1)
        module.weight.data *= mask
    return masked


def largest_error(one: object, other: object) -> float:
    """The largest difference over the largest value, over all floating tensors of two outputs."""
    ours, theirs = list(_tensors(one)), list(_tensors(other))
    assert [t.shape for t in ours] == [t.shape for t in theirs]
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-30)) for a, b in zip(ours, theirs, strict=True))


def prune_exactly(model: nn.Module, inputs: object, **recipe: object) -> tui_prune.Result:
    """Prune and hold the cut network to the masked original, in eval mode; the original must stay as it was."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = tui_prune.prune(model, inputs, **{"ratio": 0.5, **recipe})
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    masked = masked_original(model, result)
    cut = copy.deepcopy(result.model).eval()
    with torch.no_grad():
        assert largest_error(cut(*inputs), masked(*inputs)) < TOLERANCE
    return result


def widths(result: tui_prune.Result) -> dict[str, tuple[int, int]]:
    """Output width of each layer before and after."""
    return {layer.name: (layer.before, layer.after) for layer in result.plan.layers if layer.producer}


def _tensors(value: object):
    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            yield value.double()
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
