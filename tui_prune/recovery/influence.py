"""How far the outputs of a network move when what a layer gives is wrong: by gradients of random sums of the outputs.

With signs drawn for all numbers that a network puts out, the gradient of their sum at a layer's outputs is a sample;
the mean of its squares and products, times the covariance of small independent errors there, is the expected squared
error of the network's outputs (Hutchinson 1990, "A stochastic estimator of the trace of the influence matrix").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tui_prune.errors import Cancelled
from tui_prune.graph.dispatch import OperatorMode
from tui_prune.graph.nested import map_tensors, tensors_in
from tui_prune.graph.record import TraceRecord
from tui_prune.graph.trace import untouched
from tui_prune.surgery.copying import named_tensors
from tui_prune.tasks.inputs import Inputs

INPUTS = 16
"""Inputs that gradients are followed back for."""
PROBES = 3
MOST_OUTPUTS = 1024
"""Of a layer with more outputs only the squares are taken, no products."""


def influences(
    model: nn.Module,
    record: TraceRecord,
    inputs: Inputs,
    run: Callable[[nn.Module, Inputs], Any],
    groups: Mapping[str, int],
) -> dict[str, Tensor]:
    """For each weight (groups, outputs of a group, outputs of a group): times the covariance of the errors of its
    layer's outputs, the squared error of the network's outputs over their square. Of wide layers only the diagonal:
    (groups, outputs of a group).

    `groups` says how the outputs of which weights fall into groups. A weight is left out where no gradient reaches it:
    all are where the network can't be followed back.
    """
    inputs = inputs.pick(range(min(inputs.count, INPUTS))) if inputs.count else inputs
    watch = _Backward(model, record, groups)
    try:
        with untouched(model, record.written) as twin, torch.enable_grad():
            watch.watch(twin)
            starts: list[Tensor] = []

            def start(tensor: Tensor) -> Tensor:
                if not tensor.is_floating_point():
                    return tensor
                starts.append(tensor.detach().clone().requires_grad_(True))
                return starts[-1] * 1  # what follows may write over it

            args, kwargs = map_tensors((inputs.args, dict(inputs.kwargs)), start)
            floats = [(p, p.requires_grad) for p in twin.parameters() if p.is_floating_point() and not p.is_inference()]
            if not starts:  # such as tokens: their embeddings are where gradients end
                for parameter, _ in floats:
                    parameter.requires_grad_(True)
                starts = [parameter for parameter, _ in floats]
            try:
                found = run(twin, Inputs(args, kwargs, inputs.count))
                outputs = [t for t in tensors_in(found) if t.is_floating_point() and t.requires_grad and t.numel()]
                generator = torch.Generator().manual_seed(0)
                for _ in range(PROBES if outputs else 0):
                    gradients = [_signs(t, generator) / _size(t, len(outputs)) for t in outputs]
                    with watch:
                        torch.autograd.grad(outputs, starts, gradients, retain_graph=True, allow_unused=True)
            finally:
                for parameter, before in floats:
                    parameter.requires_grad_(before)
    except Cancelled:
        raise
    except Exception:  # whatever in the user's network has no gradient: errors of layers alone are known then
        return {}
    return {name: products / PROBES for name, products in watch.products.items() if bool(products.isfinite().all())}


def _signs(like: Tensor, generator: torch.Generator) -> Tensor:
    signs = 2.0 * torch.randint(0, 2, like.shape, generator=generator) - 1.0
    return signs.to(like)


def _size(tensor: Tensor, count: int) -> float:
    """The root of the square of one of so many outputs."""
    return max(float(tensor.detach().double().square().sum() * count) ** 0.5, 1e-30)


class _Backward(OperatorMode):
    """Sees the gradients that arrive at layers' outputs, by the operators that take them on through a weight."""

    def __init__(self, model: nn.Module, record: TraceRecord, groups: Mapping[str, int]) -> None:
        super().__init__()
        self.products: dict[str, Tensor] = {}
        self._record, self._groups = record, groups
        self._names: dict[tuple[int, int], tuple[str, Tensor]] = {}

    def watch(self, twin: nn.Module) -> None:
        """Know the weights of what stands in for the network."""
        tensors = named_tensors(twin, self._record)
        self._names = {
            (tensor.data_ptr(), tensor.numel()): (name, tensor)
            for name, tensor in tensors.items()
            if name in self._groups
        }

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.partition("::")[2]
        if name.endswith("convolution_backward") and len(args) > 2:
            self._take(args[0], args[2])
        elif name == "mm":
            self._take(*args[:2])
        return func(*args, **(kwargs or {}))

    def _take(self, gradient: Any, weight: Any) -> None:
        if not isinstance(gradient, Tensor) or not isinstance(weight, Tensor):
            return
        found = self._names.get((weight.data_ptr(), weight.numel()))
        if found is None:
            return
        name = found[0]
        groups = self._groups[name]
        rows = gradient.movedim(1, -1).reshape(-1, groups, gradient.shape[1] // groups).float()
        if rows.shape[2] > MOST_OUTPUTS:
            products = rows.square().sum(0).cpu()
        else:
            products = torch.einsum("ngo,ngp->gop", rows, rows).cpu()
        known = self.products.get(name)
        self.products[name] = products if known is None or known.shape != products.shape else known + products
