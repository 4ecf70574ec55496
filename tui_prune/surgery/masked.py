"""The masked original: the model as it is, run with everything that is cut masked on the way."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry

from tui_prune.graph.dispatch import OperatorMode
from tui_prune.graph.labels import Dims, compact
from tui_prune.graph.operators import Operator
from tui_prune.graph.record import Axis, FreeSize, TraceRecord
from tui_prune.graph.registry import MASKED, Call, MaskedRule
from tui_prune.graph.tracer import Tracer, results_of, tensors_of
from tui_prune.surgery.choices import SameChoices


@dataclass(slots=True, eq=False)
class MaskedStep:
    """One operator of a masked run."""

    func: Any
    rule: MaskedRule | None = None
    """How it was computed; None for as it is."""
    shapes: list[torch.Size] = field(default_factory=list)
    """Of the tensors that it was given."""
    masks: list[dict[Dims, Tensor]] = field(default_factory=list)
    """What stays of each of them, by dimensions."""
    positions: list[Tensor] = field(default_factory=list)
    """The integers (and masks) that have met labels here: others may move them elsewhere."""


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
        self.steps: list[MaskedStep] = []
        self.reads_values = False
        """Whether with other weights the code may go another way."""
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

    @property
    def place(self) -> None:
        """Nothing is said of the lines of code in which something meets."""

    def compute(self, func: Any, args: Any, kwargs: Any, labelled: Sequence[Tensor]) -> Any:
        step = MaskedStep(func)
        self.steps.append(step)
        out = self._compute_masked(step, args, kwargs, labelled) if labelled else func(*args, **kwargs)
        return out if self._choices is None else self._choices.settle(func, args, kwargs, out)

    def _compute_masked(self, step: MaskedStep, args: Any, kwargs: Any, labelled: Sequence[Tensor]) -> Any:
        func = step.func
        for tensor in labelled:
            if not (tensor.is_floating_point() or tensor.is_complex()) and self.leaf(tensor) is None:
                step.positions.append(tensor.clone())
        name = func._schema.name
        rule = MASKED.get(name) or MASKED.get(name.rstrip("_"))
        if rule is None or self._are_steady(labelled):
            return func(*args, **kwargs)
        masks = [self.cut(tensor) for tensor in labelled]
        if not any(masks):
            return func(*args, **kwargs)
        by_tensor = {id(tensor): mask for tensor, mask in zip(labelled, masks, strict=True)}
        out = rule(Call(func, args, kwargs, None), lambda tensor: by_tensor.get(id(tensor), {}))
        if out is NotImplemented:
            self.without_reference.add(name.rpartition("::")[2])
            return func(*args, **kwargs)
        step.rule, step.shapes, step.masks = rule, [tensor.shape for tensor in labelled], masks
        return out

    def _are_steady(self, tensors: Sequence[Tensor]) -> bool:
        sources = self.sources(list(tensors)) if self._steady else None
        return sources is not None and sources <= self._steady

    def note_call(self, call: Call, operator: Operator, labelled: bool, tensors: list[Tensor]) -> None:
        """Note only whether values decide what runs: numbers are compared, and no calls."""
        self.reads_values |= operator.reads_values

    def count(self, call: Call, operator: Operator, tensors: list[Tensor]) -> None:
        """Note the number format."""
        self.formats.update(tensor.dtype for tensor in results_of(call.out))


class MaskedAgain(OperatorMode):
    """Masks a further run of what a `MaskedTracer` has seen, with other values, as that has masked it: no label has to
    be followed. Where other operators run, `differs` says so."""

    def __init__(self, steps: Sequence[MaskedStep]) -> None:
        super().__init__()
        self._steps, self._done = steps, 0
        self._differs = False
        self.formats: set[torch.dtype] = set()

    @property
    def differs(self) -> bool:
        """Whether the run was another one, so that its numbers say nothing."""
        return self._differs or self._done != len(self._steps)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        step = self._steps[self._done] if self._done < len(self._steps) else None
        self._done += 1
        if step is None or step.func is not func:
            self._differs = True
        elif step.positions or step.rule is not None:
            tensors = tensors_of(args, kwargs)
            if step.positions:
                self._differs |= not _are_there(step.positions, tensors)
            if step.rule is not None:
                self._differs |= step.shapes != [tensor.shape for tensor in tensors]
            if step.rule is not None and not self._differs:
                masks = {id(tensor): mask for tensor, mask in zip(tensors, step.masks, strict=True)}
                out = step.rule(Call(func, args, kwargs, None), lambda tensor: masks.get(id(tensor), {}))
                self.formats.update([tensor.dtype for tensor in results_of(out)])
                return out
        out = func(*args, **kwargs)
        self.formats.update([tensor.dtype for tensor in results_of(out)])
        return out


def _are_there(positions: Sequence[Tensor], tensors: Sequence[Tensor]) -> bool:
    """Whether each of these stands, in this order, among the tensors."""
    left = iter(tensors)
    return all(any(known.shape == t.shape and torch.equal(known, t) for t in left) for known in positions)


def kept_of(tensor: Tensor, masks: dict[Dims, Tensor]) -> Tensor:
    """What stays of a tensor whose kept positions are known, by dimensions."""
    for dims, mask in masks.items():
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

    def compute(self, func: Any, args: Any, kwargs: Any, labelled: Sequence[Tensor]) -> Any:
        """Run the operator, masked or not."""
        return super().compute(func, args, kwargs, labelled if self._masking else ())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if func.overloadpacket in flop_registry:
            tensor = out[0] if isinstance(out, (tuple, list)) else out
            kept = kept_of(tensor, self.cut(tensor)).double()
            channel = next((dims[0] for dims in self.labels(tensor) if len(dims) == 1), None)
            if channel is None or not kept.numel():
                means = torch.stack([kept.mean(), kept.abs().mean()]) if kept.numel() else kept.reshape(-1)
            else:
                rows = kept.movedim(channel, 0).flatten(1)
                means = torch.cat([rows.mean(1).sort().values, rows.abs().mean(1).sort().values])
            self.digests.append(means.cpu())
        return out
