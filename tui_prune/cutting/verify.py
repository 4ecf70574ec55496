"""Verify: the cut module's numbers beside the masked original's, on the same input."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from tui_prune.channels.graph import Graph
from tui_prune.channels.labels import Dims, compact
from tui_prune.channels.nested import tensors_in
from tui_prune.channels.record import TraceRecord
from tui_prune.channels.registry import MASKED, Call
from tui_prune.channels.trace import run, untouched
from tui_prune.channels.tracer import Tracer
from tui_prune.cutting.carry_out import CutModule, cut
from tui_prune.cutting.surgery import named_tensors, with_tensors
from tui_prune.errors import TuiPruneError
from tui_prune.planning.plan import Plan

TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Largest relative error (largest difference over largest value of an output) that counts as equal."""
TELLING = 1e-3
"""A mask that moves the output by less (relative) leaves nothing to compare."""


class NotEqual(TuiPruneError):
    """The cut network isn't equal to the masked original."""


@dataclass(frozen=True, eq=False)
class Verification:
    """How a cut module compares with the masked original."""

    kind: Literal["exact", "structural"]
    """`exact`: equal in numbers. `structural`: the replay proves it, but an operator has no masked reference."""
    max_error: float
    """Relative, over all outputs."""
    moved: float
    """How far the mask alone moves the output (relative): near 0 the comparison shows nothing."""
    operators: tuple[str, ...]
    """The operators without a reference."""
    outputs: tuple[Tensor, ...]
    """What the masked original puts out, cut to the channels that stay."""
    seconds: float


class MaskedTracer(Tracer):
    """Runs the original with everything that is cut masked: what reads a cut channel reads zero, and statistics over
    channels are those over the kept ones."""

    def __init__(self, model: nn.Module, kept_slots: Tensor) -> None:
        super().__init__(model)
        self._kept_slots = kept_slots
        self.without_reference: set[str] = set()

    def cut(self, tensor: Any) -> dict[Dims, Tensor]:
        """The kept masks of a tensor's labels, of those of which something is cut."""
        found = {}
        for dims, label in self.labels(tensor).items():
            ids = compact(label, dims)
            mask = self._kept_slots[ids.clamp(min=0)] | (ids < 0)
            if not bool(mask.all()):
                found[dims] = mask.to(tensor.device)
        return found

    def compute(self, func: Any, args: Any, kwargs: Any, labelled: bool) -> Any:
        if not labelled:
            return func(*args, **kwargs)
        name = func._schema.name
        rule = MASKED.get(name) or MASKED.get(name.rstrip("_"))
        if rule is None or not any(self.cut(tensor) for tensor in tensors_in((args, kwargs))):
            return func(*args, **kwargs)
        out = rule(Call(func, args, kwargs, None), self.cut)
        if out is NotImplemented:
            self.without_reference.add(name.rpartition("::")[2])
            return func(*args, **kwargs)
        return out


def verify(
    model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any], plan: Plan, cut_module: CutModule
) -> Verification:
    """Compare the cut module with the masked original on the example input.

    Where the mask hardly moves the output (a head that starts at zero, tiny layer scales), an equal output shows
    nothing; then both are compared once more with random numbers in place of the parameters that hide the rest.

    Raises `NotEqual` when they differ by more than the tolerance of the outputs' type.
    """
    started = time.perf_counter()
    found = _compare(model, inputs, kwargs, plan, cut_module)
    found = replace(found, seconds=time.perf_counter() - started)
    if found.moved >= TELLING or not plan.cuts:
        return found
    stirred = with_tensors(model, _stirred(model, plan.graph.record), plan.graph.record)
    second = _compare(stirred, inputs, kwargs, plan, cut(stirred, inputs, kwargs, plan))
    silent = second.moved < TELLING
    return replace(
        found,
        kind="structural" if silent else second.kind,
        max_error=max(found.max_error, second.max_error),
        moved=second.moved,
        operators=("no output depends on what is cut",) if silent else second.operators,
        seconds=time.perf_counter() - started,
    )


def _stirred(model: nn.Module, record: TraceRecord) -> dict[str, Tensor]:
    """The model's tensors, with random numbers in parameters that are zero or next to it."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, tensor in named_tensors(model, record).items():
        values = tensor.detach()
        if name in record.parameters and values.is_floating_point() and float(values.abs().max()) < TELLING:
            fan_in = max(values[0].numel(), 1) if values.dim() > 1 else 1
            values = (torch.randn(values.shape, generator=generator) / fan_in**0.5).to(values)
        found[name] = values
    return found


def _compare(
    model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any], plan: Plan, cut_module: CutModule
) -> Verification:
    with untouched(model):
        plain = _values(run(model, inputs, kwargs))
        reference, operators = _masked_outputs(model, inputs, kwargs, plan.graph, plan.keep)
    with untouched(cut_module.module):
        outputs = _values(run(cut_module.module, inputs, kwargs))
    if [a.shape for a in outputs] != [b.shape for b, _ in reference]:
        raise NotEqual("The cut network puts out tensors of other shapes than the masked original.")
    pairs = list(zip(outputs, plain, reference, strict=True))
    error = max((relative_error(a, b) for a, _, (b, _) in pairs), default=0.0)
    moved = max((relative_error(b, kept(p)) for _, p, (b, kept) in pairs), default=0.0)
    tolerance = max((TOLERANCES.get(t.dtype, 1e-4) for t in outputs), default=1e-4)
    if error > tolerance and not operators:
        raise NotEqual(
            f"The cut network differs from the masked original by {error:.1e} (at most {tolerance:.0e} is rounding)."
        )
    kind: Literal["exact", "structural"] = "structural" if error > tolerance else "exact"
    return Verification(kind, error, moved, tuple(sorted(operators)), tuple(b for b, _ in reference), 0.0)


def _masked_outputs(
    model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any], graph: Graph, keep: np.ndarray
) -> tuple[list[tuple[Tensor, Any]], set[str]]:
    """The masked original's outputs, each with the function that selects what stays of such a tensor."""
    kept_slots = torch.from_numpy(keep[graph.classes.channel])
    tracer = MaskedTracer(model, kept_slots)
    outputs = run(model, inputs, kwargs, tracer)
    found = []
    for tensor in _values(outputs):
        masks = {dims[0]: mask for dims, mask in tracer.cut(tensor).items() if len(dims) == 1}

        def select(value: Tensor, masks: dict[int, Tensor] = masks) -> Tensor:
            for dim, mask in masks.items():
                value = value.index_select(dim, mask.nonzero().flatten())
            return value

        found.append((select(tensor), select))
    return found, tracer.without_reference


def _values(outputs: Any) -> list[Tensor]:
    return [tensor for tensor in tensors_in(outputs) if tensor.is_floating_point() or tensor.is_complex()]


def relative_error(one: Tensor, other: Tensor) -> float:
    """The largest difference over the largest value of `other`; infinite where one is finite and the other isn't."""
    if not other.numel():
        return 0.0
    one, other = one.detach().double(), other.detach().double()
    if bool((one.isfinite() != other.isfinite()).any()):
        return float("inf")
    difference = torch.where(one.isfinite(), (one - other).abs(), torch.zeros_like(one)).max()
    scale = torch.where(other.isfinite(), other.abs(), torch.zeros_like(other)).max()
    return float(difference / scale) if scale > 0 else float(difference)
