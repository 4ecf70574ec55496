"""What several rules need."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from tui_prune.graph.labels import Dims, Labels, collapse, compact, spread

if TYPE_CHECKING:
    from tui_prune.graph.tracer import Tracer

Kept = Callable[[Tensor], dict[Dims, Tensor]]
"""For a tensor, by dimensions, the mask of what is kept; only labels of which something is cut."""


def single(labels: Labels, dim: int) -> Tensor | None:
    """The slots along one dimension (shape: its size), where a label varies along it alone."""
    label = labels.get((dim,))
    return None if label is None else compact(label, (dim,))


def dimensions(value: Any, rank: int) -> tuple[int, ...]:
    """An operator's `dim` argument as sorted non-negative dimensions; None and () mean all."""
    if value is None or value == [] or value == ():
        return tuple(range(rank))
    listed = value if isinstance(value, (list, tuple)) else [value]
    return tuple(sorted(int(d) % rank for d in listed)) if rank else ()


def places_of(label: Tensor, dims: Dims) -> int | None:
    """The dimension on which the places in a row lie (channels of one head), of a label that varies along `dims`; along
    the others lie the rows (heads). None where that isn't sure.

    Where slots recur along all dimensions but one (the rows and columns of a finer image, the images of a batch), it is
    that one. Else a row's channels follow each other in the layer that puts them out: there, and nowhere else, slots
    step by one (with a few leaps where parts have changed places).
    """
    if len(dims) == 1:
        return dims[0]
    ids = compact(label, dims)
    once = [d for n, d in enumerate(dims) if not recurs(ids, n)]
    if len(once) == 1:
        return once[0]
    found = []
    for n, d in enumerate(dims):
        locked = ids < 0
        real = ~(locked.narrow(n, 1, ids.shape[n] - 1) | locked.narrow(n, 0, ids.shape[n] - 1))
        steps = ids.diff(dim=n)[real].abs()
        steps = steps[steps > 0]  # a place may stand at several positions in a row
        by_one = int((steps == 1).sum())
        if by_one:
            found.append((d, 2 * by_one > len(steps)))
    return found[0][0] if len(found) == 1 and found[0][1] else None


def tied_over(tracer: "Tracer", label: Tensor, dims: Dims, over: Iterable[int], why: str) -> Tensor:
    """Tie what lies at the same place along the dimensions `over`; the label, with the first of them for all."""
    first = label
    for d in set(dims) & set(over):
        first = first.narrow(d, 0, 1)
    tracer.tie(collapse(first, dims), collapse(label, dims), why)
    return first.expand(label.shape)


def recurs(ids: Tensor, dim: int) -> bool:
    """Whether some slot comes twice along a dimension, at the same position of all others."""
    ordered = ids.sort(dim).values
    return bool((ordered.diff(dim=dim) == 0).any())


def kept_places(tensor: Tensor, dims: Dims, mask: Tensor, dim: int) -> Tensor | None:
    """Where the kept places lie along `dim`, one of `dims`, in the form that `torch.gather` wants; None where not
    equally many are kept in each row along it."""
    along = dims.index(dim)
    rows = mask.movedim(along, -1)
    counts = rows.sum(-1)
    count = int(counts.reshape(-1)[0])
    if not count or not bool((counts == count).all()):
        return None
    places = rows.nonzero()[:, -1].reshape(*rows.shape[:-1], count).movedim(-1, along)
    shape = list(tensor.shape)
    shape[dim] = count
    return spread(places, dims, shape)


def differs_along(dims: Dims, mask: Tensor, dim: int) -> bool:
    """Whether a mask over `dims` isn't the same at every position of `dim`, or keeps nothing."""
    if dim not in dims:
        return False
    return not bool(mask.any()) or not bool((mask == mask.narrow(dims.index(dim), 0, 1)).all())


def zero_cut(tensor: Tensor, cut: Kept) -> Tensor:
    """The tensor with zeros in place of everything that is cut."""
    for dims, mask in cut(tensor).items():
        tensor = tensor.masked_fill(~spread(mask, dims, tensor.shape), 0)
    return tensor
