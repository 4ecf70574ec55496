"""Operators without a rule: whatever reaches them stays."""

from typing import TYPE_CHECKING

from torch import Tensor

from tui_prune.graph.labels import collapse
from tui_prune.graph.nested import tensors_in
from tui_prune.graph.ops.shared import dimensions
from tui_prune.graph.registry import Call, rule

if TYPE_CHECKING:
    from tui_prune.graph.tracer import Tracer


def unknown(tracer: "Tracer", call: Call) -> None:
    """Lock every channel that reaches the operator, and name it."""
    _lock_arguments(tracer, call, f"no rule for operator {call.name}")


@rule("_local_scalar_dense", "item", "nonzero", "unique", "_unique2", "unique_dim", "equal")
def read_value(tracer: "Tracer", call: Call) -> None:
    """The values leave the graph: the model decides something by them."""
    _lock_arguments(tracer, call, "the model reads these values to decide what to do")


@rule("searchsorted", "bucketize", "nms", "torchvision::nms")
def compare(tracer: "Tracer", call: Call) -> None:
    """All values that it is given are compared with each other."""
    _lock_arguments(tracer, call, _ranks(call))


@rule("topk", "sort", "argsort", "argmax", "argmin")
def rank(tracer: "Tracer", call: Call) -> None:
    """Ranking by value mixes positions along one dimension, or all; labels on the others pass."""
    x = call.args[0]
    outputs = list(tensors_in((call.out,)))
    ranked = dimensions(call.arg("dim", None if call.name in ("argmax", "argmin") else -1), x.dim())
    labels: list[Tensor] = []
    for dims, label in tracer.labels(x).items():
        if set(dims) & set(ranked):
            tracer.lock_label(label, dims, _ranks(call))
            continue
        small = collapse(label, dims)
        if outputs[0].dim() != x.dim():
            for d in reversed(ranked):
                small = small.squeeze(d)
        labels.append(small.expand(outputs[0].shape))
    for out in outputs:
        tracer.put(out, labels)


def _ranks(call: Call) -> str:
    return f"operator {call.name} ranks these values"


def _lock_arguments(tracer: "Tracer", call: Call, reason: str) -> None:
    arguments: list[Tensor] = [*tensors_in(call.args), *tensors_in(call.kwargs)]
    tracer.lock_all(arguments, reason)
