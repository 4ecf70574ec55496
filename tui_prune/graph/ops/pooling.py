"""Operators that work within each channel: pooling, resizing, sampling."""

from typing import TYPE_CHECKING

from tui_prune.graph.labels import collapse, compact
from tui_prune.graph.nested import tensors_in
from tui_prune.graph.ops.shared import tied_over
from tui_prune.graph.registry import Call, rule

if TYPE_CHECKING:
    from tui_prune.graph.tracer import Tracer

_POOLED = {
    **{f"{kind}_pool{n}d{end}": n for kind in ("max", "avg", "adaptive_avg", "_adaptive_avg", "adaptive_max",
                                               "fractional_max", "mkldnn_max", "mkldnn_adaptive_avg")
       for n in (1, 2, 3) for end in ("", "_with_indices")},
    **{f"upsample_{kind}": n for kind, n in (
        ("nearest1d", 1), ("nearest2d", 2), ("nearest3d", 3), ("linear1d", 1), ("bilinear2d", 2), ("bicubic2d", 2),
        ("trilinear3d", 3))},
    **{f"_upsample_{kind}": n for kind, n in (
        ("nearest_exact1d", 1), ("nearest_exact2d", 2), ("nearest_exact3d", 3), ("bilinear2d_aa", 2),
        ("bicubic2d_aa", 2))},
    **{f"{kind}_pad{n}d": n for kind in ("reflection", "replication") for n in (1, 2, 3)},
    "grid_sampler_2d": 2, "grid_sampler_3d": 3, "grid_sampler": 2,
    "torchvision::roi_align": 2, "torchvision::roi_pool": 2,
}  # fmt: skip


@rule(*_POOLED)
def within_channels(tracer: "Tracer", call: Call) -> None:
    """Labels on dimensions before the spatial ones pass; a label along a spatial dimension is locked."""
    x, out = call.args[0], call.first_out
    spatial = _POOLED.get(call.name, _POOLED.get(call.func._schema.name, 2))
    labels = []
    for dims, label in tracer.labels(x).items():
        first = x.dim() - spatial
        if dims[0] < first <= dims[-1]:  # rows and columns of a finer image
            label = tied_over(tracer, label, dims, [d for d in dims if d >= first], "one channel")
            dims = tuple(d for d in dims if d < first)
        passes = dims[-1] < first and out.dim() == x.dim() and all(out.shape[d] == x.shape[d] for d in dims)
        if passes:
            labels.append(collapse(label, dims).expand(out.shape))
        else:
            tracer.lock_label(label, dims, f"operator {call.name} mixes these positions")
    for other in tensors_in(call.args[1:]):
        tracer.lock_all([other], "these values are used as positions")
    tracer.put(out, labels)
    if call.name.startswith("max_pool") and call.name.endswith("_with_indices"):
        tracer.put(call.out[1], labels)  # places in the image, one for each value


@rule("max_unpool2d", "max_unpool3d")
def back_to_places(tracer: "Tracer", call: Call) -> None:
    """Values go back to the places in their own channel that a pooling has found; a channel has both or neither."""
    x, places, out = call.arg("self"), call.arg("indices"), call.first_out
    first = x.dim() - int(call.name[-2])
    given = dict(tracer.labels(places))
    labels = []
    for dims, label in tracer.labels(x).items():
        partner = given.pop(dims, None)
        if dims[-1] >= first:
            tracer.lock_label(label, dims, f"operator {call.name} mixes these positions")
        elif partner is None:
            tracer.lock_label(label, dims, tracer.unlabelled_reason(places))
        else:
            tracer.tie(compact(label, dims), compact(partner, dims), "unpooled")
            labels.append(collapse(label, dims).expand(out.shape))
    for dims, label in given.items():
        tracer.lock_label(label, dims, tracer.unlabelled_reason(x))
    tracer.put(out, labels)
