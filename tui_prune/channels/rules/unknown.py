"""Operators without a rule: whatever reaches them stays."""

from typing import TYPE_CHECKING

from torch import Tensor

from tui_prune.channels.nested import tensors_in
from tui_prune.channels.registry import Call, rule

if TYPE_CHECKING:
    from tui_prune.channels.tracer import Tracer


def unknown(tracer: "Tracer", call: Call) -> None:
    """Lock every channel that reaches the operator, and name it."""
    _lock_arguments(tracer, call, f"no rule for operator {call.name}")


@rule("_local_scalar_dense", "item", "nonzero", "unique", "_unique2", "unique_dim", "equal")
def read_value(tracer: "Tracer", call: Call) -> None:
    """The values leave the graph: the model decides something by them."""
    _lock_arguments(tracer, call, "the model reads these values to decide what to do")


@rule("topk", "sort", "argsort", "argmax", "argmin", "searchsorted", "bucketize", "nms", "torchvision::nms")
def rank(tracer: "Tracer", call: Call) -> None:
    """Ranking by value mixes positions."""
    _lock_arguments(tracer, call, f"operator {call.name} ranks these values")


def _lock_arguments(tracer: "Tracer", call: Call, reason: str) -> None:
    arguments: list[Tensor] = [*tensors_in(call.args), *tensors_in(call.kwargs)]
    tracer.lock_all(arguments, reason)
