"""Weights under which a wrong cut shows.

A network as it comes may hide one: queries and keys near zero make attention even, whatever the heads are; a norm's
scale of zero switches a branch off; fresh statistics are the same for every channel. The same cut is therefore compared
on other weights as well: those that are near zero get a usual size, and all get some noise, so that no two channels are
alike.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tui_prune.graph.record import TraceRecord
from tui_prune.planning.plan import Plan
from tui_prune.surgery.copying import named_tensors
from tui_prune.surgery.cut import CutModule
from tui_prune.surgery.replay import reordered_along
from tui_prune.surgery.surgery import cut_tensors

_PERIOD = 65521
"""A prime: noise that repeats with it is another one in each row of any usual width."""
_LEAST_GAIN = 0.5
"""A matrix whose outputs are smaller than this, for inputs of size 1, is scaled up to it."""
_LEAST_SCALE = 0.1
_HALF = (torch.float16, torch.bfloat16)


class TellingValues(NamedTuple):
    """The tensors of an original and of its cut network with other values, by name."""

    original: dict[str, Tensor]
    cut: dict[str, Tensor]


def widened(tensor: Tensor, formats: Collection[torch.dtype], precise: torch.dtype) -> Tensor:
    """The tensor in a more precise number format, where it has one of these."""
    return tensor.to(precise) if tensor.dtype in formats else tensor


@torch.no_grad()
def telling_values(model: nn.Module, plan: Plan, made: CutModule, precise: torch.dtype) -> TellingValues:
    """Weights that tell, for the original and its cut network, in this number format.

    What the network computes its kernels from by a norm, and what it writes over, stays as it is.
    """
    graph = plan.graph
    before, after = named_tensors(model, graph.record), named_tensors(made.module, graph.record)
    after.update(made.kernels.scaled)
    measured = frozenset[str]().union(*(use.weight.sources for use in graph.record.derived.measured))
    changed = _telling_values(before, graph.record, _cut_buffers(plan, before), measured | graph.record.written)
    cut = cut_tensors(changed, graph, plan.keep).tensors
    for key, order in made.reordered.items():
        if key[0] in cut:
            cut[key[0]] = reordered_along(cut[key[0]], key, order)
    for scaled in made.scalings:
        if scaled.tensor in cut:
            scaled.apply(cut[scaled.tensor])
    formats = (*_HALF, torch.float32)
    values = (
        {name: widened(others.get(name, tensor).detach(), formats, precise) for name, tensor in own.items()}
        for own, others in ((before, changed), (after, cut))
    )
    return TellingValues(*values)


def _cut_buffers(plan: Plan, tensors: Mapping[str, Tensor]) -> Collection[str]:
    """The buffers that hold one number for each of several channels, some of which are cut: statistics of a norm."""
    graph = plan.graph
    return {
        axis.tensor
        for axis in graph.record.axes
        if axis.tensor not in graph.record.parameters
        and axis.tensor in tensors
        and tensors[axis.tensor].dim() == 1
        and not plan.keep[graph.classes.channel[axis.slots]].all()
    }


def _telling_values(
    tensors: Mapping[str, Tensor], record: TraceRecord, buffers: Collection[str], fixed: Collection[str]
) -> dict[str, Tensor]:
    """The values of what changes, by name: each begins at another place of the noise."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(_PERIOD, generator=generator).repeat(2)
    found = {}
    for number, (name, tensor) in enumerate(tensors.items()):
        counts = (name in record.parameters or name in buffers) and name not in fixed
        if counts and tensor.is_floating_point() and tensor.numel():
            first = number * 7919 % _PERIOD
            found[name] = _telling(tensor.detach(), noise[first : first + min(_PERIOD, tensor.numel())])
    return found


def _telling(tensor: Tensor, noise: Tensor) -> Tensor:
    """A tensor's other values; of the noise it is given one period, or as much as it has numbers."""
    values = tensor.float() if tensor.dtype in _HALF else tensor
    noise = noise.to(values)
    size = float(values.norm()) / values.numel() ** 0.5
    if sum(length > 1 for length in values.shape) > 1:
        least = _LEAST_GAIN / (values.numel() / values.shape[0]) ** 0.5
        target = max(size, least)
        factor = target / size * 0.5**0.5 if size > 0 else 0.0
        return _with_noise(values, noise * (target * 0.5**0.5), factor)
    repeats = -(-values.numel() // _PERIOD)
    noise = (noise.repeat(repeats) if repeats > 1 else noise)[: values.numel()].view(values.shape)
    spread = noise.tanh().mul_(0.5)  # between -0.5 and 0.5
    if bool((values >= 0).all()):  # variances and scales stay positive
        return values.clamp(min=_LEAST_SCALE) * (1 + spread)
    return values + spread * max(size, _LEAST_SCALE)


def _with_noise(values: Tensor, noise: Tensor, factor: float) -> Tensor:
    """The values times a factor, with the noise added again and again."""
    found = torch.empty(values.shape, dtype=values.dtype, device=values.device)
    flat, made = values.reshape(-1), found.view(-1)
    whole = len(flat) - len(flat) % _PERIOD
    if whole:
        torch.add(noise, flat[:whole].view(-1, _PERIOD), alpha=factor, out=made[:whole].view(-1, _PERIOD))
    torch.add(noise[: len(flat) - whole], flat[whole:], alpha=factor, out=made[whole:])
    return found
