"""The masked original: the model as it is, run with everything that is cut masked on the way."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry

from tui_prune.graph.labels import Dims, compact
from tui_prune.graph.nested import tensors_in
from tui_prune.graph.operators import Operator
from tui_prune.graph.record import Axis, FreeSize, TraceRecord
from tui_prune.graph.registry import MASKED, Call
from tui_prune.graph.tracer import Tracer
from tui_prune.surgery.choices import SameChoices


class MaskedTracer(Tracer):
    """Runs the original with everything that is cut masked: what reads a cut channel reads zero, and statistics over
    channels are those over the kept ones. Weights that the cut network computes as they were are computed as they
    are."""

    _original: TraceRecord | None = None

    def __init__(
        self,
        model: nn.Module,
        kept_slots: Tensor,
        original: TraceRecord,
        steady: Collection[str] = (),
        choices: SameChoices | None = None,
    ) -> None:
        super().__init__(model)
        self._original, self._all_kept = original, kept_slots
        self._kept_slots = kept_slots[: self.record.size]
        """Of slots that this run makes (heads, positions of constants) by what they are: on inputs of another size
        there may be more of them, or in another order."""
        self._choices = choices
        self._steady = frozenset(steady)
        self.without_reference: set[str] = set()
        self.formats: set[torch.dtype] = set()
        """Of everything that was computed on the way (autocast may differ from what goes in and comes out)."""

    def add_axis(self, tensor: str, dim: int, size: int, groups: int = 1) -> Axis:
        """Take over what is kept of the same axis of the network that was traced first."""
        axis = super().add_axis(tensor, dim, size, groups)
        if self._original is not None:
            known = (a for a in self._original.axes_of(tensor) if (a.dim, a.groups) == (dim, groups))
            self._take_over(size, next(known, None))
        return axis

    def free_label(self, tensor: Tensor, dim: int) -> Tensor | None:
        """As `add_axis`, for the positions that a constant is spread over."""
        number = len(self.record.free)
        label = super().free_label(tensor, dim)
        if self._original is not None and len(self.record.free) > number:
            self._take_over(self.record.free[number].size, next(iter(self._original.free[number : number + 1]), None))
        return label

    def _take_over(self, size: int, known: Axis | FreeSize | None) -> None:
        if known is None or known.size != size:
            own = torch.ones(size, dtype=torch.bool)
        else:
            own = self._all_kept[known.first : known.first + size]
        self._kept_slots = torch.cat([self._kept_slots, own])

    def cut(self, tensor: Any) -> dict[Dims, Tensor]:
        """The kept masks of a tensor's labels, of those of which something is cut."""
        found: dict[Dims, Tensor] = {}
        for dims, label in self.labels(tensor).items():
            ids = compact(label, dims)
            mask = self._kept_slots[ids.clamp(min=0)] | (ids < 0)
            if not bool(mask.all()):
                dims, mask = _told_apart(dims, mask)
                known = found.get(dims)
                found[dims] = mask.to(tensor.device) if known is None else known & mask.to(tensor.device)
        return found

    def compute(self, func: Any, args: Any, kwargs: Any, labelled: bool) -> Any:
        out = self._compute_masked(func, args, kwargs) if labelled else func(*args, **kwargs)
        return out if self._choices is None else self._choices.settle(func, args, kwargs, out)

    def _compute_masked(self, func: Any, args: Any, kwargs: Any) -> Any:
        name = func._schema.name
        rule = MASKED.get(name) or MASKED.get(name.rstrip("_"))
        tensors = [*tensors_in((args, kwargs))]
        if rule is None or self._are_steady(tensors) or not any(self.cut(tensor) for tensor in tensors):
            return func(*args, **kwargs)
        out = rule(Call(func, args, kwargs, None), self.cut)
        if out is NotImplemented:
            self.without_reference.add(name.rpartition("::")[2])
            return func(*args, **kwargs)
        return out

    def _are_steady(self, tensors: list[Tensor]) -> bool:
        sources = self.sources(tensors) if self._steady else None
        return sources is not None and sources <= self._steady

    def note_call(self, call: Call, operator: Operator, labelled: bool, tensors: list[Tensor]) -> None:
        """Note nothing: only numbers are compared."""

    def count(self, call: Call, operator: Operator, tensors: list[Tensor]) -> None:
        """Note the number format."""
        self.formats.update(tensor.dtype for tensor in tensors_in((call.out,)))

    def kept_of(self, tensor: Tensor) -> Tensor:
        """What stays of a tensor: without the positions of its cut channels."""
        for dims, mask in self.cut(tensor).items():
            if len(dims) == 1:
                tensor = tensor.index_select(dims[0], mask.nonzero().flatten())
        return tensor


def _told_apart(dims: Dims, mask: Tensor) -> tuple[Dims, Tensor]:
    """A mask along those of its dimensions along which it isn't the same everywhere, or along the first of all."""
    stay: list[int] = []
    for n, dim in enumerate(dims):
        if len(stay) + len(dims) - n > 1 and bool((mask == mask.narrow(len(stay), 0, 1)).all()):
            mask = mask.select(len(stay), 0)
        else:
            stay.append(dim)
    return tuple(stay), mask


class Digests(MaskedTracer):
    """Also notes, for each product of each layer, the means of its channels: in an order that no shuffle changes."""

    def __init__(
        self,
        model: nn.Module,
        kept_slots: Tensor,
        original: TraceRecord,
        steady: Collection[str] = (),
        *,
        masking: bool,
    ) -> None:
        super().__init__(model, kept_slots, original, steady)
        self._masking = masking
        self.digests: list[Tensor] = []

    def compute(self, func: Any, args: Any, kwargs: Any, labelled: bool) -> Any:
        """Run the operator, masked or not."""
        return super().compute(func, args, kwargs, labelled and self._masking)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if func.overloadpacket in flop_registry:
            tensor = out[0] if isinstance(out, (tuple, list)) else out
            kept = self.kept_of(tensor).double()
            channel = next((dims[0] for dims in self.labels(tensor) if len(dims) == 1), None)
            if channel is None or not kept.numel():
                means = torch.stack([kept.mean(), kept.abs().mean()]) if kept.numel() else kept.reshape(-1)
            else:
                rows = kept.movedim(channel, 0).flatten(1)
                means = torch.cat([rows.mean(1).sort().values, rows.abs().mean(1).sort().values])
            self.digests.append(means.cpu())
        return out
