"""Recurrent layers. Most of them reach the tracer as products, gates and sums; here are the operators that are one for
a whole layer or cell, and packed sequences.

A hidden unit is one row of each gate in both weights and biases, and the column of the hidden-to-hidden weight that
reads it. What is cut reads as zero, in the next step too.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from tui_prune.graph.labels import Labels, compact, spread
from tui_prune.graph.ops.shared import Kept, single, zero_cut
from tui_prune.graph.record import FEEDS, RECURRENT, LayerUse
from tui_prune.graph.registry import Call, masked, rule

if TYPE_CHECKING:
    from tui_prune.graph.tracer import Tracer

_GATES = 4


@rule("mkldnn_rnn_layer")
def long_short_term_memory(tracer: "Tracer", call: Call) -> None:
    """One layer of an LSTM in one direction: x (time, batch, inputs), states (batch, units)."""
    x, from_input, from_hidden, *biases = call.args[:5]
    rows = single(tracer.labels(from_input), 0)
    if rows is None:
        tracer.lock_all([*call.args[:7]], RECURRENT)
        return
    units = _tie_gates(tracer, rows, _GATES)
    for other in (from_hidden, *biases):
        label = single(tracer.labels(other), 0)
        if label is not None:
            tracer.tie(label, rows, "recurrent layer")
    columns = single(tracer.labels(from_hidden), 1)
    if columns is not None:
        tracer.tie(columns, units, "recurrent layer")
    for state in call.args[5:7]:
        _take_state(tracer, state, units)
    inputs = single(tracer.labels(from_input), 1)
    _take_in(tracer, x, inputs)
    for out in call.out[:3]:
        last = (out.dim() - 1,)
        tracer.put(out, {last: spread(units, last, out.shape)})
    axis, name = tracer.axis_of(rows), tracer.leaf(from_input)
    if axis is not None and name is not None:
        layer = tracer.layer_of(name)
        tracer.produce(axis, layer)
        use = LayerUse(layer, "lstm", rows, inputs, len(rows), from_input.shape[1], True)
        tracer.record.layers.setdefault(layer, use)


def _tie_gates(tracer: "Tracer", rows: Tensor, gates: int) -> Tensor:
    """Tie the rows of all gates; the hidden units are the rows of the first."""
    table = rows.view(gates, -1)
    tracer.tie(table[0], table, "recurrent layer")
    return table[0]


def _take_state(tracer: "Tracer", state: Tensor, units: Tensor) -> None:
    """Tie the units' first state; a state that isn't the same for all units locks them."""
    last = state.dim() - 1
    label = single(tracer.labels(state), last)
    if label is not None:
        tracer.tie(label, units, "first state")
    elif state.shape[last] > 1 and not tracer.is_alike(state, [last]):
        tracer.lock(units, tracer.unlabelled_reason(state))


def _take_in(tracer: "Tracer", x: Tensor, inputs: Tensor | None) -> None:
    last = x.dim() - 1
    for dims, label in tracer.labels(x).items():
        if dims == (last,) and inputs is not None:
            tracer.tie(inputs, compact(label, dims), FEEDS)
        else:
            tracer.lock_label(label, dims, RECURRENT)
    if inputs is not None and single(tracer.labels(x), last) is None:
        tracer.lock(inputs, tracer.unlabelled_reason(x))


@masked("mkldnn_rnn_layer")
def masked_long_short_term_memory(call: Call, cut: Kept) -> Any:
    """Cut inputs are zero, and so are cut units where the next step reads them."""
    arguments = list(call.args)
    columns: Labels = {dims: mask for dims, mask in cut(arguments[2]).items() if dims == (1,)}
    for place in (0, 5, 6):
        arguments[place] = zero_cut(arguments[place], cut)
    arguments[2] = zero_cut(arguments[2], lambda _: columns)
    return call.func(*arguments, **call.kwargs)


@rule("_thnn_fused_lstm_cell", "_thnn_fused_gru_cell")
def cell(tracer: "Tracer", call: Call) -> None:
    """One step on a GPU: gates (batch, gates of all units) from the input and from the state, the state, and biases."""
    gates, from_hidden, state = call.args[:3]
    rows = single(tracer.labels(gates), 1)
    other = single(tracer.labels(from_hidden), 1)
    if rows is None or other is None:
        tracer.lock_all([gates, from_hidden, state], RECURRENT)
        return
    units = _tie_gates(tracer, rows, rows.numel() // state.shape[-1])
    tracer.tie(other, rows, "recurrent layer")
    for bias in call.args[3:5]:
        label = single(tracer.labels(bias), 0)
        if label is not None:
            tracer.tie(label, rows, "bias")
    _take_state(tracer, state, units)
    for out in call.out[: 2 if "lstm" in call.name else 1]:
        tracer.put(out, {(1,): spread(units, (1,), out.shape)})


@rule("_pack_padded_sequence", "_pad_packed_sequence")
def pack(tracer: "Tracer", call: Call) -> None:
    """(batch, time, ...) to (steps of all sequences, ...) and back: what lies along the last dimension stays there."""
    source, out = call.args[0], call.first_out
    labels: dict[tuple[int, ...], Tensor] = {}
    for dims, label in tracer.labels(source).items():
        last = (out.dim() - 1,)
        if dims == (source.dim() - 1,):
            labels[last] = spread(compact(label, dims), last, out.shape)
        else:
            tracer.lock_label(label, dims, RECURRENT)
    tracer.put(out, labels)


@rule("lstm", "gru", "rnn_tanh", "rnn_relu", "_cudnn_rnn", "quantized_lstm", "quantized_gru")
def other(tracer: "Tracer", call: Call) -> None:
    """Several layers in one operator."""
    arguments: Sequence[Any] = [*call.args, *call.kwargs.values()]
    tensors = [t for value in arguments for t in (value if isinstance(value, (list, tuple)) else [value])]
    tracer.lock_all([t for t in tensors if isinstance(t, Tensor)], RECURRENT)
