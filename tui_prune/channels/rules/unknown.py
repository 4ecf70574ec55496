"""Operators without a rule: whatever reaches them stays."""

from typing import TYPE_CHECKING

from torch import Tensor

from tui_prune.channels.nested import tensors_in
from tui_prune.channels.record import RECURRENT
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


@rule("lstm", "gru", "rnn_tanh", "rnn_relu", "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell", "mkldnn_rnn_layer",
      "_cudnn_rnn", "quantized_lstm", "quantized_gru", "_pack_padded_sequence", "_pad_packed_sequence")  # fmt: skip
def recurrent(tracer: "Tracer", call: Call) -> None:
    """A cell's gates and states would have to be cut alike, inside one operator."""
    _lock_arguments(tracer, call, RECURRENT)


def _lock_arguments(tracer: "Tracer", call: Call, reason: str) -> None:
    arguments: list[Tensor] = [*tensors_in(call.args), *tensors_in(call.kwargs)]
    tracer.lock_all(arguments, reason)
