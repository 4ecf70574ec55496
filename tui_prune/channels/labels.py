"""Label tensors: for each element of a tensor, the slot that it goes away with.

A tensor's labels are a dict. A key is the tuple of dimensions along which a label varies; the value is an int64 tensor
of the labelled tensor's own shape that has stride 0 along all other dimensions, so it costs as many integers as there
are slots. A negative label stands for something that can't go away: -1 - i names lock i of the trace.
"""

from collections.abc import Sequence

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


def rebroadcast(label: Tensor) -> Tensor:
    """Give the dimensions along which a materialised label doesn't vary stride 0 again."""
    for d in varying(label):
        first = label.narrow(d, 0, 1)
        if bool((first == label).all()):
            label = first.expand(label.shape)
    return label
