"""Parameters whose values a forward pass writes over."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tui_prune.graph.dispatch import OperatorMode


class Overwritten:
    """The values of parameters that operators of a forward pass write over, remembered before they do."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._by_memory: dict[int, list[tuple[str, Tensor]]] | None = None
        self._values: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(self, func: Any, args: Sequence[Any]) -> None:
        """Remember the parameters in whose memory an operator is about to write."""
        if self._by_memory is None:
            self._by_memory = {}
            for name, parameter in self._model.named_parameters():
                self._by_memory.setdefault(parameter.untyped_storage().data_ptr(), []).append((name, parameter))
        for argument, value in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write and isinstance(value, Tensor):
                for name, held in self._by_memory.get(value.untyped_storage().data_ptr(), ()):
                    if name not in self._values:
                        self._values[name] = held.detach(), held.detach().clone()

    @torch.no_grad()
    def restore(self) -> frozenset[str]:
        """Put the values back, and give the names of the parameters."""
        for memory, values in self._values.values():
            memory.copy_(values)
        return frozenset(self._values)


@contextmanager
def parameters_put_back(model: nn.Module) -> Iterator[None]:
    """Give parameters their values back that the model's code writes over meanwhile, in whatever way."""
    mode = _KeepingMode(Overwritten(model))
    try:
        with mode:
            yield
    finally:
        mode.overwritten.restore()


class _KeepingMode(OperatorMode):
    def __init__(self, overwritten: Overwritten) -> None:
        super().__init__()
        self.overwritten = overwritten

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.is_mutable:
            self.overwritten.keep(func, args)
        return func(*args, **(kwargs or {}))
