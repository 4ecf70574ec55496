"""Label tensors: for each element of a tensor, the slot that it goes away with.

A tensor's labels are a dict. A key is the tuple of dimensions along which a label varies; the value is an int64 tensor
of the labelled tensor's own shape that has stride 0 along all other dimensions, so it costs as many integers as there
are slots. A negative label stands for something that can't go away: -1 - i names lock i of the trace.

A tensor without elements (a detector that has found nothing) carries labels too: its label has no elements either, but
is a view of memory that holds them.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

Dims = tuple[int, ...]
Labels = dict[Dims, Tensor]


def varying(label: Tensor) -> Dims:
    """The dimensions along which a label tensor really varies."""
    return tuple(
        d for d, (size, step) in enumerate(zip(label.shape, label.stride(), strict=True)) if size > 1 and step != 0
    )


def compact(label: Tensor, dims: Dims) -> Tensor:
    """The label without the dimensions along which it is constant; shape: the sizes of `dims`."""
    if len(dims) == label.dim():
        return label
    shape, strides = label.shape, label.stride()
    return label.as_strided([shape[d] for d in dims], [strides[d] for d in dims])


def collapse(label: Tensor, dims: Dims) -> Tensor:
    """The label with size 1 along the dimensions along which it is constant."""
    return label.as_strided([size if d in dims else 1 for d, size in enumerate(label.shape)], label.stride())


def spread(ids: Tensor, dims: Dims, shape: Sequence[int]) -> Tensor:
    """A label tensor of `shape` that varies along `dims` as `ids` (shape: the sizes of `dims`) says."""
    strides = [0] * len(shape)
    for d, step in zip(dims, ids.stride(), strict=True):
        strides[d] = step
    return ids.as_strided(shape, strides)


def distinct_ids(ids: Tensor) -> Tensor:
    """The different ids of a tensor, in order; shape: (how many,)."""
    if not ids.numel():
        return ids.reshape(-1)
    low = int(ids.min())
    seen = torch.zeros(int(ids.max()) - low + 1, dtype=torch.bool)
    seen[(ids - low).reshape(-1)] = True
    return seen.nonzero().reshape(-1) + low


def distinct_in_order(ids: Tensor) -> Tensor:
    """The different ids of a tensor, each where it comes first; shape: (how many,)."""
    return torch.tensor(list(dict.fromkeys(ids.reshape(-1).tolist())), dtype=torch.int64)


def rebroadcast(label: Tensor) -> Tensor:
    """Give the dimensions along which a materialised label doesn't vary stride 0 again."""
    if not label.numel():
        return label
    for d in varying(label):
        first = label.narrow(d, 0, 1)
        if bool((first == label).all()):
            label = first.expand(label.shape)
    return label


def reshaped(label: Tensor, shape: Sequence[int]) -> Tensor:
    """`label.reshape(shape)`, with stride 0 along all dimensions along which the result doesn't vary.

    Dimensions that hold together (4, 6 -> 8, 3) are reshaped apart from the others, so that labels are written out
    only along those that vary.
    """
    if not label.numel():
        one = label.as_strided([size or 1 for size in label.shape], label.stride())
        return reshaped(one, [size or 1 for size in shape]).expand(shape)
    strides = label.stride()
    small: list[int] = []
    new: list[int] = []
    for before, after in _runs(label.shape, shape):
        vary = any(strides[d] for d in before)
        small.extend(label.shape[d] if vary else 1 for d in before)
        new.extend(shape[d] if vary else 1 for d in after)
    core = label.as_strided(small, strides)
    moved = core.reshape(new)
    if moved.data_ptr() != core.data_ptr() or len(varying(moved)) > len(varying(core)):
        moved = rebroadcast(moved)
    return moved.expand(shape)


def _runs(before: Sequence[int], after: Sequence[int]) -> Iterator[tuple[range, range]]:
    """The shortest runs of dimensions, in order, of equal size on both sides."""
    i = j = 0
    while i < len(before) or j < len(after):
        first, start = i, j
        left = right = 1
        if i < len(before):
            left, i = before[i], i + 1
        if j < len(after):
            right, j = after[j], j + 1
        while left != right:
            if left < right:
                left, i = left * before[i], i + 1
            else:
                right, j = right * after[j], j + 1
        yield range(first, i), range(start, j)
