"""What a cut has kept: for an axis such as "conv1.weight/0" the positions that it had before.

Where they differ between the groups of a grouped convolution ("conv1.weight/1"), each row is one group's.
"""

from collections.abc import Mapping

from torch import Tensor


def axis_name(tensor: str, dim: int) -> str:
    """The name of one dimension of a parameter or buffer."""
    return f"{tensor}/{dim}"


def compose_kept(
    first: Mapping[str, Tensor],
    second: Mapping[str, Tensor],
    between: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, Tensor]:
    """What two cuts, one after the other, have kept, as positions in the network before the first.

    `between` are the shapes of the tensors between the cuts; they are needed where the second has cut whole groups of a
    grouped convolution.
    """
    composed = {**first, **second}
    for axis in first.keys() & second.keys():
        rows = _surviving_groups(axis, first, second, between or {})
        composed[axis] = _composed(first[axis] if rows is None else first[axis][rows], second[axis].long())
    return composed


def cut_shape(tensor: str, shape: tuple[int, ...], kept: Mapping[str, Tensor]) -> tuple[int, ...]:
    """The shape that a parameter or buffer has after the cut."""
    positions = [kept.get(axis_name(tensor, dim)) for dim in range(len(shape))]
    return tuple(size if own is None else own.shape[-1] for size, own in zip(shape, positions, strict=True))


def missing_positions(shapes: Mapping[str, tuple[int, ...]], kept: Mapping[str, Tensor]) -> str | None:
    """In words, a position that was kept and is not there in tensors of these shapes; None: there is none."""
    for name, shape in shapes.items():
        for dim, size in enumerate(shape):
            positions = kept.get(axis_name(name, dim))
            if positions is not None and positions.numel() and int(positions.max()) >= size:
                return f"it keeps position {int(positions.max())} of {name}, which has only {size}"
    return None


def _surviving_groups(
    axis: str,
    first: Mapping[str, Tensor],
    second: Mapping[str, Tensor],
    between: Mapping[str, tuple[int, ...]],
) -> Tensor | None:
    """Which groups of a grouped convolution the second cut has left; None where it has left all."""
    groups = len(first[axis])
    if first[axis].dim() == 1 or second[axis].dim() == 1 or len(second[axis]) == groups:
        return None
    tensor = axis.rpartition("/")[0]
    outputs = second[axis_name(tensor, 0)].long()
    width = between[tensor][0] if tensor in between else len(first[axis_name(tensor, 0)])
    return (outputs // (width // groups)).unique()


def _composed(first: Tensor, second: Tensor) -> Tensor:
    if first.dim() == 1:
        return first[second]
    return first.gather(1, second.expand(len(first), -1))
