"""Fused attention: softmax(q k / sqrt(d)) v in one operator."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tui_prune.graph.labels import Dims, Labels, collapse, compact
from tui_prune.graph.ops.shared import Kept, zero_cut
from tui_prune.graph.record import ADDED, FEEDS
from tui_prune.graph.registry import Call, masked, rule

if TYPE_CHECKING:
    from tui_prune.graph.tracer import Tracer

SUMMED = "attention sums over these positions"
_NAMES = (
    "scaled_dot_product_attention",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_attention_math",
    "_scaled_dot_product_fused_attention_overrideable",
)


@rule(*_NAMES)
def attend(tracer: "Tracer", call: Call) -> None:
    """Query and key (batch, heads, tokens, size) are contracted; the value's last dimension goes to the output.

    Where there are fewer heads of keys and values than of queries, each serves as many queries, one after the other.
    """
    query, key, value = call.args[:3]
    last = query.dim() - 1
    keys, values = (_for_each_query(tracer, tensor, query) for tensor in (key, value))
    heads: dict[Dims, Tensor] = {}
    """By the dimensions that count heads, what stands for each head of the query."""
    for labels_of_one in (tracer.labels(query), keys):
        for dims, label in labels_of_one.items():
            if last not in dims and last - 1 in dims:
                tracer.lock_label(label, dims, SUMMED)
    for dims, label in tracer.labels(query).items():
        if last not in dims and last - 1 in dims:  # of keys there may be more or fewer than of queries
            continue
        partner = keys.get(dims)
        ids, outer = compact(label, dims), dims[:-1]
        if last in dims:
            tracer.statistic(ids, "attention scale")
        if partner is None:
            tracer.lock(ids, tracer.unlabelled_reason(key))
            continue
        tracer.tie(ids, compact(partner, dims), FEEDS)
        if outer:
            heads[outer] = tracer.heads_of(ids.reshape(-1, ids.shape[-1])).reshape(ids.shape[:-1])
    for dims, label in keys.items():
        if dims not in tracer.labels(query) and (last in dims or last - 1 not in dims):
            tracer.lock_label(label, dims, tracer.unlabelled_reason(query))
    labels: list[Tensor] = []
    for dims, label in values.items():
        if last - 1 in dims:
            tracer.lock_label(label, dims, SUMMED)
            continue
        ids, outer = compact(label, dims), dims[:-1]
        labels.append(collapse(label, dims).expand(call.first_out.shape))
        if outer:
            found = heads.get(outer)
            if found is None:
                found = torch.full(ids.shape[:-1], tracer.fixed(tracer.unlabelled_reason(query)))
            tracer.note_heads(ids.reshape(-1, ids.shape[-1]), found.reshape(-1))
    tracer.put(call.first_out, labels)
    mask = call.arg("attn_mask", call.arg("attn_bias"))
    if isinstance(mask, Tensor) and last - 2 >= 0:
        for outer, own in heads.items():
            _meet_mask(tracer, mask, query.dim() - mask.dim(), outer, own)


def _for_each_query(tracer: "Tracer", tensor: Tensor, query: Tensor) -> Labels:
    """The labels of keys or values, repeated along the heads as often as queries share them."""
    labels, heads = tracer.labels(tensor), query.dim() - 3
    if heads < 0 or tensor.shape[heads] == query.shape[heads]:
        return labels
    times = query.shape[heads] // tensor.shape[heads]
    shape = (*tensor.shape[:heads], query.shape[heads], *tensor.shape[heads + 1 :])
    queries_differ = any(heads in dims for dims in tracer.labels(query))
    repeated = []
    for dims, label in labels.items():
        small = collapse(label, dims)
        if heads in dims or (queries_differ and tensor.shape[heads] == 1):
            small = small.repeat_interleave(times, heads)
        repeated.append(small.expand(shape))
    return tracer.by_dims(repeated)


def _meet_mask(tracer: "Tracer", mask: Tensor, shift: int, outer: Dims, heads: Tensor) -> None:
    """What is added for each head goes with the head; what no label says that of keeps all heads."""
    own = tuple(d - shift for d in outer)
    label = tracer.labels(mask).get(own)
    if label is not None:
        tracer.tie(heads, compact(label, own), ADDED)
    elif any(d >= 0 and mask.shape[d] > 1 and mask.stride(d) != 0 for d in own):
        tracer.lock(heads, tracer.unlabelled_reason(mask))


@masked(*_NAMES)
def masked_attention(call: Call, cut: Kept) -> object:
    """Cut elements of a query count nothing; the scale is the smaller head's own."""
    query = call.args[0]
    kept = {dims: mask for dims, mask in cut(query).items() if query.dim() - 1 in dims}
    arguments = dict(call.kwargs)
    if kept and arguments.get("scale") is None:
        size = min(int(mask.reshape(-1, mask.shape[-1]).sum(-1).max()) for mask in kept.values())
        arguments["scale"] = size**-0.5
    return call.func(zero_cut(query, cut), *call.args[1:], **arguments)
