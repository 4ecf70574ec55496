"""Kernels that are normalised (weight norm, spectral norm) stay what they were.

Such a weight is divided by a number that is measured over all of it, so a cut along one dimension changes what stays
of the other ones. Where one of the tensors that it is computed from scales it (g of a weight norm, u or v of a spectral
norm), that is scaled back.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from tui_prune.graph.classes import atoms
from tui_prune.graph.derived import DerivedUse
from tui_prune.graph.record import Axis, TraceRecord
from tui_prune.planning.plan import Plan
from tui_prune.surgery.copying import named_tensors
from tui_prune.surgery.replay import Key, reordered_along
from tui_prune.surgery.surgery import CutTensors, UnevenCut, cut_tensors


@dataclass(frozen=True, eq=False)
class KeptKernels:
    """The computed weights that a cut has left at what they were worth."""

    sources: frozenset[str] = frozenset()
    """The parameters and buffers that they are computed from."""
    scaled: Mapping[str, Tensor] = field(default_factory=dict)
    """Those among these that were scaled, before they are rounded to half precision."""


@torch.no_grad()
def keep_kernels(
    module: nn.Module, plan: Plan, tensors: CutTensors, cut: TraceRecord, reordered: Mapping[Key, np.ndarray]
) -> KeptKernels:
    """Scale what computed weights are scaled by, so that what stays of them is worth what it was."""
    original = plan.graph.record
    before, after = original.derived.measured, cut.derived.measured
    if not before or [use.weight.sources for use in before] != [use.weight.sources for use in after]:
        return KeptKernels()
    kernels = _Kernels(module, plan, tensors, cut, reordered)
    wanted = [kernels.wanted(*pair) for pair in zip(before, after, strict=True)]
    for whole, use, kernel in zip(before, after, wanted, strict=True):
        # Of a table that loses nothing, another value means that channels were cut on the way to it.
        if kernel is not None and _sizes(whole) != _sizes(use) and not kernels.is_equal(use, kernel):
            kernels.scale(use, kernel)
    kept, changed = set[str](), set[str]()
    for use, kernel in zip(after, wanted, strict=True):
        equal = kernel is not None and kernels.is_equal(use, kernel)
        (kept if equal else changed).update(use.weight.sources)
    return KeptKernels(frozenset(kept - changed), kernels.write())


class _Kernels:
    """The computed weights of a cut module beside those of the original."""

    def __init__(
        self,
        module: nn.Module,
        plan: Plan,
        tensors: CutTensors,
        cut: TraceRecord,
        reordered: Mapping[Key, np.ndarray],
    ) -> None:
        self._graph, self._keep, self._kept, self._cut = plan.graph, plan.keep, tensors.kept, cut
        self._module = named_tensors(module, plan.graph.record)
        self._before = _widened(named_tensors(plan.graph.model, plan.graph.record))
        self._after = _widened(self._module)
        self._scaled = set[str]()
        self._reordered = reordered
        self._atom = atoms(cut)
        self._fixed = plan.graph.record.written | plan.graph.record.derived.direct | cut.derived.direct

    def wanted(self, before: DerivedUse, after: DerivedUse) -> Tensor | None:
        """What stays of a weight of the original; None where that isn't known."""
        if before.weight.sources & self._graph.record.written or after.labels.keys() - before.labels.keys():
            return None
        whole = before.weight.compute(self._before)
        if not whole.is_floating_point() or any(len(dims) > 1 for dims in before.labels):
            return None
        twin = self._grouped_twin(before, whole)
        if twin is not None:
            return self._cut_like(twin, whole)
        for dims in before.labels:
            (dim,) = dims
            ids = before.labels[dims].numpy()
            # A dimension that is left with a single place carries no labels.
            places = self._places(ids, after.labels[dims].numpy()) if dims in after.labels else self._only_place(ids)
            if places is None:
                return None
            whole = whole.index_select(dim, torch.from_numpy(places).to(whole.device))
        return whole

    def _grouped_twin(self, use: DerivedUse, whole: Tensor) -> str | None:
        """The grouped convolution's weight that a computed one has all axes of."""
        for name in use.weight.sources:
            axes = self._graph.record.axes_of(name)
            if any(axis.groups > 1 for axis in axes) and self._graph.record.shapes[name] == tuple(whole.shape):
                return name
        return None

    def _cut_like(self, name: str, whole: Tensor) -> Tensor | None:
        try:
            kernel = cut_tensors({name: whole}, self._graph, self._keep).tensors[name]
        except UnevenCut:
            return None
        for key, order in self._reordered.items():
            if key[0] == name:
                kernel = reordered_along(kernel, key, order)
        return kernel

    def _places(self, before: np.ndarray, after: np.ndarray) -> np.ndarray | None:
        """The places in the original's weight of what lies along a dimension of the cut one."""
        slots = np.full(after.shape, -1)
        for axis in self._cut.axes:
            mine = (after >= axis.first) & (after < axis.first + axis.size)
            kept = self._kept.get((axis.tensor, axis.dim, axis.groups > 1))
            if mine.any() and kept is not None and kept.size == axis.size:
                slots[mine] = kept.reshape(-1)[after[mine] - axis.first]
        order = np.argsort(before, kind="stable")
        found = np.minimum(np.searchsorted(before[order], slots), len(before) - 1)
        places = order[found]
        return places if (before[places] == slots).all() else None

    def _only_place(self, ids: np.ndarray) -> np.ndarray | None:
        """The one place of a dimension of the original's weight that stays; None where there isn't just one."""
        if (ids < 0).any():
            return None
        places = np.flatnonzero(self._keep[self._graph.classes.channel[ids]])
        return places if len(places) == 1 else None

    def is_equal(self, use: DerivedUse, kernel: Tensor) -> bool:
        """Whether a weight of the cut module is worth this."""
        return _are_equal(use.weight.compute(self._after), kernel)

    def scale(self, use: DerivedUse, kernel: Tensor) -> bool:
        """Find the tensors that scale a weight, and scale them; where none do, everything stays as it is."""
        actual = use.weight.compute(self._after)
        if actual.shape != kernel.shape:
            return False
        in_proportion = _are_in_proportion(actual, kernel)
        names = sorted(use.weight.sources - self._fixed, key=lambda name: self._after[name].numel())
        for name in names:
            before = self._after[name]
            if not before.is_floating_point():
                continue
            for factor in self._factors(use, name, kernel, actual):
                for tried in (factor, 1 / factor):
                    self._after[name] = before * tried
                    found = use.weight.compute(self._after)
                    # Of a spectral norm around a weight norm, the one changes single rows and the other the whole.
                    nearer = not in_proportion and _are_in_proportion(found, kernel)
                    if _are_equal(found, kernel) or (nearer and self.scale(use, kernel)):
                        self._scaled.add(name)
                        return True
            self._after[name] = before
        return False

    def write(self) -> dict[str, Tensor]:
        """Give the module its scaled tensors, and return them as they are before rounding."""
        for name in self._scaled:
            self._module[name].data.copy_(self._after[name])
        return {name: self._after[name] for name in sorted(self._scaled)}

    def _factors(self, use: DerivedUse, name: str, kernel: Tensor, actual: Tensor) -> Iterator[Tensor]:
        """By what a weight would have to be scaled along one tensor's only axis, and as a whole."""
        tensor = self._after[name]
        axes = [axis for axis in self._cut.axes_of(name) if axis.groups == 1]
        if len(axes) == 1:
            dim = self._dimension(use, axes[0])
            if dim is not None:
                shape = [1] * tensor.dim()
                shape[axes[0].dim] = -1
                yield _ratio(kernel, actual, dim).to(tensor).reshape(shape)
        yield _ratio(kernel, actual, None).to(tensor)

    def _dimension(self, use: DerivedUse, axis: Axis) -> int | None:
        """The dimension of a weight whose channels are those of an axis."""
        own = self._atom[axis.slots]
        for (dim,), ids in use.labels.items():
            if len(ids) == axis.size and (self._atom[ids.numpy()] == own).all():
                return dim
        return None


def _widened(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same numbers, half precision in single precision: its rounding would hide what a cut has changed."""
    return {
        name: tensor.detach().float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor.detach()
        for name, tensor in values.items()
    }


def _are_equal(actual: Tensor, kernel: Tensor) -> bool:
    """Whether two weights are equal up to rounding."""
    if actual.shape != kernel.shape or not bool(actual.isfinite().all()):
        return False
    tolerance = 64 * torch.finfo(kernel.dtype).eps
    return bool((actual - kernel).abs().max() <= tolerance * kernel.abs().max())


def _are_in_proportion(actual: Tensor, kernel: Tensor) -> bool:
    return _are_equal(actual * _ratio(kernel, actual, None).to(actual), kernel)


def _sizes(use: DerivedUse) -> list[int]:
    return [len(ids) for ids in use.labels.values()]


def _ratio(kernel: Tensor, actual: Tensor, dim: int | None) -> Tensor:
    """By what `actual` is to be multiplied along a dimension, or as a whole; 1 where it is 0."""
    one, other = kernel.double(), actual.double()
    rest = [d for d in range(one.dim()) if d != dim]
    above, below = ((tensor * other).sum(rest) if rest else tensor * other for tensor in (one, other))
    return torch.where(below > 0, above / below, torch.ones_like(above))
