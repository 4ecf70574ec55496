"""A tracer that also notes what each call costs in multiply-accumulates and memory."""

from typing import Any

import torch
from torch import Tensor, nn

from tui_prune.graph.labels import Labels, compact
from tui_prune.graph.nested import tensors_in
from tui_prune.graph.operators import Operator
from tui_prune.graph.record import Activation, CostedCall, Extent
from tui_prune.graph.registry import Call
from tui_prune.graph.tracer import Tracer


class CountingTracer(Tracer):
    """The tracer of a model as it is; those that run beside cut or masked ones need no costs."""

    def __init__(self, model: nn.Module, *, hollow: bool = False) -> None:
        super().__init__(model, hollow=hollow)
        self._measured: dict[tuple[int, tuple[int, ...]], tuple[Labels, tuple[Extent, ...]]] = {}
        """Extents by identity of labels, which are kept alive, and shape."""

    def count(self, call: Call, operator: Operator, tensors: list[Tensor]) -> None:
        """Note the call's cost, and the tensors that it makes."""
        if isinstance(call.out, (tuple, list)) and not call.out:  # a tensor of no rows, taken apart row by row
            return
        made = call.first_out
        if operator.costs:
            self.record.costs.append(CostedCall(call.func, *self._cost(call), self.extents(made), self._layer(tensors)))
        if operator.aliases:
            return
        for tensor in (call.out,) if isinstance(call.out, Tensor) else tensors_in(call.out):
            if not tensor.numel():
                continue
            source = tensor
            if not self.labels(tensor):
                # The places of maxima, and what is made in the likeness of a labelled tensor, shrink with it.
                twins = [t for t in (made, *tensors) if isinstance(t, Tensor) and t.shape == tensor.shape]
                source = next((t for t in twins if self.labels(t)), tensor)
            self.record.activations.append(Activation(self.extents(source), tensor.element_size()))

    def extents(self, tensor: Tensor) -> tuple[Extent, ...]:
        """A tensor's dimensions, each with the slots of its positions."""
        labels, shape = self.labels(tensor), tuple(tensor.shape)
        key = id(labels), shape
        known = self._measured.get(key)
        if known is None:
            found = [Extent(size, None) for size in shape]
            for dims, label in labels.items():
                for d in dims:
                    if found[d].slots is None:
                        ids = compact(label, dims)
                        slots = ids.view(-1, 1) if len(dims) == 1 else ids.movedim(dims.index(d), 0).flatten(1)
                        found[d] = Extent(shape[d], slots)
            own = self.own_grouped_axis(tensor)
            if own is not None and len(shape) > 1:
                slots = torch.arange(own.first, own.first + own.size).view(own.groups, -1)
                found[1] = Extent(shape[1], slots, per_group=True)
            known = self._measured[key] = labels, tuple(found)
        return known[1]

    def _layer(self, tensors: list[Tensor]) -> str | None:
        """The layer that a call belongs to: the one whose parameter it uses."""
        return next((self.layer_of(n) for t in tensors if (n := self.leaf(t)) is not None), None)

    def _cost(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        def extents(value: Any) -> Any:
            if isinstance(value, Tensor):
                return self.extents(value)
            if isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) for v in value):
                return type(value)(extents(v) for v in value)
            return value

        return tuple(extents(a) for a in call.args), {k: extents(v) for k, v in call.kwargs.items()}
