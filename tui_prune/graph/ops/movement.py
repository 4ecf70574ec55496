"""Operators that only move elements: the same operator runs on the labels."""

from math import gcd
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tui_prune.graph.labels import Dims, collapse, compact, distinct_ids, rebroadcast, reshaped, spread, varying
from tui_prune.graph.nested import map_tensors, tensors_in
from tui_prune.graph.record import RESHAPED
from tui_prune.graph.registry import Call, NotUnderstood, rule

if TYPE_CHECKING:
    from tui_prune.graph.tracer import Tracer


@rule("view", "_unsafe_view", "reshape", "_reshape_alias", "flatten", "unflatten")
def reshape(tracer: "Tracer", call: Call) -> None:
    """Labels are reshaped alike. Where a labelled dimension is taken apart, the parts must stay even."""
    x, out = call.arg("self"), call.out
    before = tracer.labels(x)
    labels: list[Tensor] = []
    for dims, label in before.items():
        moved = reshaped(label, out.shape)
        labels.append(moved)
        after = varying(moved)
        if [moved.shape[d] for d in after] != [label.shape[d] for d in dims]:
            tracer.fixes_size(compact(label, dims))
        if len(after) > len(dims):
            _even_parts(tracer, moved, after)
    tracer.put(out, labels)
    tracer.note_view(out, [compact(label, dims) for dims, label in before.items()])


def _even_parts(tracer: "Tracer", label: Tensor, dims: Dims) -> None:
    """Each row of a labelled dimension that became several must keep equally many."""
    ids = compact(label, dims)
    if len(torch.unique(ids)) == ids.numel():
        for outer in range(len(dims) - 1):
            tracer.block(ids.movedim(outer, 0).reshape(ids.shape[outer], -1), RESHAPED)


@rule(
    *("permute", "transpose", "t", "expand", "unsqueeze", "squeeze", "movedim", "numpy_T", "adjoint"),
    *("clone", "contiguous", "alias", "detach", "lift"),
)
def rearrange(tracer: "Tracer", call: Call) -> None:
    """Views that move whole dimensions. `clone` and `contiguous` change no label."""
    source, out = call.args[0], call.first_out
    labels = tracer.labels(source)
    if call.name in ("clone", "contiguous", "alias", "detach", "lift"):
        tracer.put(out, labels)
        return
    arguments = call.args[1:]
    moved = [call.func(label.alias() if hasattr(label, "alias") else label.view_as(label), *arguments, **call.kwargs)
             for label in labels.values()]  # fmt: skip
    tracer.put(out, moved)


@rule("slice", "select", "narrow", "diagonal")
def take_part(tracer: "Tracer", call: Call) -> None:
    """A part at a fixed place: exact for the labels; whether the model's code can follow a cut is seen in the trial."""
    source, out = call.arg("self"), call.out
    labels: list[Tensor] = []
    dim = call.arg("dim", 0) % source.dim()
    for dims, label in tracer.labels(source).items():
        part = call.func(label, *call.args[1:], **call.kwargs)
        labels.append(part)
        if dim in dims and part.shape != label.shape:
            tracer.fixes_size(compact(label, dims))
            if call.name == "slice":
                _even_slice(tracer, call, label, dims, dim)
            else:
                ids = compact(label, dims).movedim(dims.index(dim), 0)
                if len(dims) > 1:
                    tracer.block(ids.reshape(ids.shape[0], -1), "is taken apart row by row")
                else:
                    tracer.lock(ids, "single channels are picked by their number")
    tracer.put(out, labels)


def _even_slice(tracer: "Tracer", call: Call, label: Tensor, dims: Dims, dim: int) -> None:
    """What a slice [start, end) takes and what it leaves must stay in proportion: equally many of each run as long as
    their common unit. Of every second position, both of two go together. Any other place is locked.

    Nothing has to stay where it only parts channels from positions that can't go away (a row of ones beside them).
    """
    size = label.shape[dim]
    start, end, step = call.arg("start") or 0, call.arg("end"), call.arg("step", 1)
    end = size if end is None else min(end, size)
    start = start + size if start < 0 else start
    end = end + size if end < 0 else end
    unit = gcd(start, end, size)
    taken = label.narrow(dim, start, end - start) if step == 1 and end > start else None
    if taken is not None and _parts_from_fixed(taken, label, dims, dim, start, end):
        return
    if step > 1 and size % step == 0 and start < step and end == size:
        runs = compact(label, dims).unflatten(dims.index(dim), (-1, step))
        tracer.tie(runs.narrow(dims.index(dim) + 1, 0, 1), runs, "taken in steps")
    elif step == 1 and end > start and (unit > 1 or end - start == 1):
        ids = compact(label, dims).movedim(dims.index(dim), 0)
        tracer.block(ids.reshape(size // unit, -1), "is sliced into equal parts")
    else:
        tracer.lock_label(label, dims, "is sliced at a fixed place")


def _parts_from_fixed(taken: Tensor, label: Tensor, dims: Dims, dim: int, start: int, end: int) -> bool:
    """Whether a slice takes all positions that can't go away and no other, or the reverse."""
    left = torch.cat([label.narrow(dim, 0, start), label.narrow(dim, end, label.shape[dim] - end)], dim)
    if not taken.numel() or not left.numel():
        return False
    fixed, channels = (left, taken) if bool((left < 0).all()) else (taken, left)
    return bool((fixed < 0).all()) and bool((channels >= 0).all())


@rule("pixel_shuffle")
def finer_image(tracer: "Tracer", call: Call) -> None:
    """(..., C * r * r, H, W) to (..., C, H * r, W * r): each run of r * r channels becomes one, and goes together."""
    x, out, factor = call.arg("self"), call.first_out, call.arg("upscale_factor")
    channel = x.dim() - 3
    labels: list[Tensor] = []
    for dims, label in tracer.labels(x).items():
        if dims == (channel,) and out.numel():
            tracer.fixes_size(compact(label, dims))
            runs = compact(label, dims).view(-1, factor * factor)
            tracer.tie(runs[:, :1], runs, "one channel of a finer image")
            labels.append(spread(runs[:, 0], dims, out.shape))
        else:
            labels.append(rebroadcast(call.func(label, factor)))
    tracer.put(out, labels)


@rule(
    *("roll", "flip", "rot90", "repeat", "repeat_interleave", "unfold"),
    *("pixel_unshuffle", "channel_shuffle", "native_channel_shuffle"),
    *("index", "index_select", "gather", "take_along_dim"),
)
def materialise(tracer: "Tracer", call: Call) -> None:
    """The operator makes a new tensor of moved elements; so it does of the labels."""
    source = call.args[0]
    labels: list[Tensor] = []
    arguments, keywords = map_tensors((call.args[1:], call.kwargs), Tensor.cpu)
    by_values = call.name in _BY_POSITION and tracer.follows_values([*tensors_in((call.args[1:], call.kwargs))])
    for dims, label in tracer.labels(source).items():
        if not call.first_out.numel():
            labels.append(_of_nothing(call, dims, label))
            continue
        moved = rebroadcast(call.func(label, *arguments, **keywords))
        after = varying(moved)
        if call.name in _BY_POSITION and _repeats(moved, after):
            tracer.lock_label(label, dims, "rows are looked up by their position, some of them several times")
            continue
        if call.name in _BY_POSITION and len(after) < len(dims):  # all positions name one row
            tracer.lock_label(moved, varying(moved), "single channels are picked by their number")
            continue
        if by_values and not _is_same(moved, label, after, dims):
            tracer.lock_label(label, dims, "what is picked here depends on the values")
            continue
        labels.append(moved)
        if len(after) != len(dims) or (moved.numel() and moved.shape != label.shape):
            tracer.fixes_size(compact(label, dims))
    for positions in tensors_in(call.args[1:]):
        tracer.lock_all([positions], "these values are used as positions")
    tracer.put(call.first_out, labels)


_BY_POSITION = frozenset({"index", "index_select", "gather", "take_along_dim"})


def _of_nothing(call: Call, dims: Dims, label: Tensor) -> Tensor:
    """The label of a result without elements, where nothing is moved along the labelled dimensions."""
    indices = call.arg("indices") if call.name == "index" else None
    if indices is None or call.first_out.dim() != label.dim():
        raise NotUnderstood("it gives a tensor without elements")
    if any(d < len(indices) and indices[d] is not None for d in dims):
        raise NotUnderstood("it gives a tensor without elements")
    return collapse(label, dims).expand(call.first_out.shape)


def _is_same(moved: Tensor, label: Tensor, after: Dims, dims: Dims) -> bool:
    ids, others = compact(moved, after), compact(label, dims)
    return ids.shape == others.shape and torch.equal(ids, others)


def _repeats(label: Tensor, dims: Dims) -> bool:
    ids = compact(label, dims).reshape(-1)
    return distinct_ids(ids).numel() < ids.numel()


@rule("constant_pad_nd", "pad")
def pad_with_constant(tracer: "Tracer", call: Call) -> None:
    """Padding along a labelled dimension adds positions that can't go away."""
    source, pad = call.arg("self"), call.arg("pad")
    labels: list[Tensor] = []
    for dims, label in tracer.labels(source).items():
        padded = {source.dim() - 1 - i for i in range(len(pad) // 2) if pad[2 * i] or pad[2 * i + 1]}
        if padded & set(dims):
            tracer.fixes_size(compact(label, dims))
            small = collapse(label, dims)
            inner = [0 if source.dim() - 1 - i // 2 not in dims else p for i, p in enumerate(pad)]
            fixed = tracer.fixed("is padded to a fixed width")
            labels.append(torch.constant_pad_nd(small.contiguous(), inner, fixed).expand(call.out.shape))
        else:
            labels.append(collapse(label, dims).expand(call.out.shape))
    tracer.put(call.out, labels)


@rule("im2col")
def unfold_patches(tracer: "Tracer", call: Call) -> None:
    """(N, C, H, W) to (N, C * kernel, patches): each channel becomes a run of kernel-size rows."""
    x, out = call.arg("self"), call.out
    labels = tracer.labels(x)
    if any(dims != (1,) for dims in labels):
        tracer.lock_all([x], "patches are cut out along these positions")
        return
    runs = [compact(label, dims).repeat_interleave(out.shape[1] // x.shape[1]) for dims, label in labels.items()]
    tracer.put(out, [run.view(1, -1, 1).expand(out.shape) for run in runs])


@rule("col2im")
def fold_patches(tracer: "Tracer", call: Call) -> None:
    """(N, C * kernel, patches) to (N, C, H, W): each run of kernel-size rows becomes a channel, and goes with it."""
    x, out = call.arg("self"), call.out
    labels = tracer.labels(x)
    if any(dims != (1,) for dims in labels) or x.dim() != 3:
        tracer.lock_all([x], "patches are put together along these positions")
        return
    runs = [compact(label, dims).view(out.shape[1], -1) for dims, label in labels.items()]
    for run in runs:
        tracer.tie(run[:, :1], run, "folded together")
    tracer.put(out, [run[:, 0].view(1, -1, 1, 1).expand(out.shape) for run in runs])


@rule("as_strided", "as_strided_")
def stride(tracer: "Tracer", call: Call) -> None:
    """A change of memory layout alone moves no element; any other use isn't followed."""
    source, out = call.args[0], call.out
    if tuple(call.arg("size")) == tuple(out.shape) and call.name.endswith("_") and len(tracer.labels(out)) <= 1:
        label = next(iter(tracer.labels(out).values()), None)
        if label is None or label.shape == out.shape:
            return
    tracer.lock_all([source], "its memory is read in a layout that isn't followed")
    tracer.put(out, {})
