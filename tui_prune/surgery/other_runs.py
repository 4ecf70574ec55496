"""Other runs of a network than the one on the example input: in train mode, on other sizes, by other methods."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tui_prune.graph.nested import all_tensors_in, map_tensors
from tui_prune.graph.repeated import Repeated
from tui_prune.graph.trace import call

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True, eq=False)
class OtherRun:
    """One way to run a network."""

    arguments: Arguments
    in_training: bool = False
    method: tuple[type[nn.Module], str] | None = None
    """What modules of a class run in place of their `forward`."""

    def outputs(self, model: nn.Module | Repeated) -> list[Tensor] | None:
        """What the network puts out in this run, or None where it fails. It is left as it was."""
        network = model if isinstance(model, Repeated) else Repeated(model)
        state = network.training() if self.in_training else network.untouched()
        try:
            with state as twin, nullcontext() if self.method is None else _running(twin, *self.method):
                outputs = all_tensors_in(call(twin, *self.arguments))
                return [tensor for tensor in outputs if tensor.is_floating_point()]
        except (Exception, SystemExit):  # whatever the network's own code raises
            return None


@contextmanager
def _running(model: nn.Module, kind: type[nn.Module], method: str) -> Iterator[None]:
    modules = [module for module in model.modules() if type(module) is kind and "forward" not in vars(module)]
    for module in modules:
        vars(module)["forward"] = getattr(module, method)
    try:
        yield
    finally:
        for module in modules:
            vars(module).pop("forward", None)


def training_runs(inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[OtherRun]:
    """In train mode on the example input, and on a larger batch, which statistics over a batch need."""
    arguments = tuple(inputs), dict(kwargs)
    yield OtherRun(arguments, in_training=True)
    yield from (OtherRun(larger, in_training=True) for larger in (_repeated(arguments, 0),) if larger is not None)


def larger_inputs(inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[OtherRun]:
    """On inputs that are larger along dimensions that are neither the batch nor channels."""
    arguments = tuple(inputs), dict(kwargs)
    found = [_repeated(arguments, 2), _repeated(arguments, 2, 3), _repeated(arguments, 1)]
    yield from (OtherRun(larger) for larger in found if larger is not None)


def _repeated(arguments: Arguments, *dims: int) -> Arguments | None:
    """The arguments twice as long along these dimensions, wherever the first tensor's length stands in another's.

    Of images only dimensions behind the channels are made longer.
    """
    first = next(all_tensors_in(arguments), None)
    if first is None or first.dim() <= max(dims) or (max(dims) == 1 and first.dim() > 3):
        return None

    def longer(tensor: Tensor) -> Tensor:
        for dim in dims:
            if tensor.dim() > dim and tensor.shape[dim] == first.shape[dim]:
                tensor = torch.cat([tensor, tensor.flip(dim)], dim)
        return tensor

    with suppress(RuntimeError):
        return map_tensors(arguments, longer)
    return None


def names_that_are_read(
    model: nn.Module, kinds: Collection[type[nn.Module]], run: OtherRun
) -> set[tuple[type[nn.Module], str]]:
    """The attributes that a run reads of modules of these classes, as far as it gets."""
    read: set[tuple[type[nn.Module], str]] = set()
    modules = [(module, type(module)) for module in model.modules() if type(module) in kinds]
    watching = {kind: _watching(kind, read) for kind in kinds}
    try:
        for module, kind in modules:
            module.__class__ = watching[kind]
        run.outputs(model)
    finally:
        for module, kind in modules:
            module.__class__ = kind
    return read


def _watching(kind: type[nn.Module], read: set[tuple[type[nn.Module], str]]) -> type[nn.Module]:
    """A subclass that notes which attributes are read."""
    found = kind.__getattribute__

    def __getattribute__(self: nn.Module, name: str) -> Any:
        read.add((kind, name))
        return found(self, name)

    return type(kind.__name__, (kind,), {"__getattribute__": __getattribute__, "__module__": kind.__module__})
