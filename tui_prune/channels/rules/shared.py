"""What several rules need."""

from collections.abc import Callable

from torch import Tensor

from tui_prune.channels.labels import Dims, Labels, compact, spread

Kept = Callable[[Tensor], dict[Dims, Tensor]]
"""For a tensor, by dimensions, the mask of what is kept; only labels of which something is cut."""


def single(labels: Labels, dim: int) -> Tensor | None:
    """The slots along one dimension (shape: its size), where a label varies along it alone."""
    label = labels.get((dim,))
    return None if label is None else compact(label, (dim,))


def dimensions(value: object, rank: int) -> tuple[int, ...]:
    """An operator's `dim` argument as sorted non-negative dimensions; None and () mean all."""
    if value is None or value == [] or value == ():
        return tuple(range(rank))
    listed = value if isinstance(value, (list, tuple)) else [value]
    return tuple(sorted(int(d) % rank for d in listed)) if rank else ()


def kept_places(tensor: Tensor, dims: Dims, mask: Tensor) -> Tensor | None:
    """Where the kept places lie along the last of `dims`, in the form that `torch.gather` wants; None where not equally
    many are kept in each row."""
    rows = mask.reshape(-1, mask.shape[-1])
    count = int(rows[0].sum())
    if not count or not bool((rows.sum(1) == count).all()):
        return None
    places = rows.nonzero()[:, 1].reshape(*mask.shape[:-1], count)
    shape = list(tensor.shape)
    shape[dims[-1]] = count
    return spread(places, dims, shape)


def zero_cut(tensor: Tensor, cut: Kept) -> Tensor:
    """The tensor with zeros in place of everything that is cut."""
    for dims, mask in cut(tensor).items():
        tensor = tensor.masked_fill(~spread(mask, dims, tensor.shape), 0)
    return tensor
