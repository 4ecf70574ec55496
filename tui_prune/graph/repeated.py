"""A network that runs several times, each time from the same state."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from tui_prune.copies.modules import named_modules, named_tensors
from tui_prune.copies.outside import Outside
from tui_prune.copies.stand_in import stand_in
from tui_prune.copies.state import State
from tui_prune.graph.overwritten import parameters_put_back
from tui_prune.graph.trace import evaluating


class Repeated:
    """Runs of a stand-in of a network. It is made again only after a run that has left something behind in it."""

    def __init__(self, model: nn.Module, written: Collection[str] = ()) -> None:
        """`written`: the parameters that the forward pass is known to write over."""
        self.model, self._written = model, written
        self._values: Mapping[str, Tensor] | None = None
        self._held: Mapping[str, Tensor] | None = None
        """The values that the stand-in has now."""
        self._made: tuple[nn.Module, Outside, State] | None = None

    @contextmanager
    def untouched(self) -> Iterator[nn.Module]:
        """As `trace.untouched`."""
        twin, outside, state = self._stand_in()
        try:
            with outside.put_back(), evaluating(twin):
                yield twin
        finally:
            self._made = (twin, outside, state) if not self._written and state.is_kept() else None

    @contextmanager
    def training(self) -> Iterator[nn.Module]:
        """As `untouched`, but in train mode, in which code may write over parameters that eval mode only reads."""
        twin, outside, _ = self._stand_in()
        self._made = None
        with outside.put_back(), evaluating(twin), parameters_put_back(twin):
            for _, module in named_modules(twin):
                module.training = True
            yield twin

    @contextmanager
    def holding(self, values: Mapping[str, Tensor]) -> Iterator[None]:
        """Run it meanwhile with these tensors, by name, in place of its own."""
        self._values = values
        try:
            yield
        finally:
            self._values = None

    def _stand_in(self) -> tuple[nn.Module, Outside, State]:
        if self._made is None:
            outside = Outside(self.model)
            twin = stand_in(self.model, outside, self._written)
            self._made = twin, outside, State(twin)
            self._held = None
        if self._held is not self._values:
            twin, _, state = self._made
            self._fill(twin)
            state.take_buffers()
        return self._made

    def _fill(self, twin: nn.Module) -> None:
        """Give a stand-in the values to run with: parameters in their memory, other tensors as copies."""
        self._held = self._values
        values = dict(named_tensors(self.model)) if self._values is None else self._values
        for name, tensor in named_tensors(twin):
            if name in values:
                shared = isinstance(tensor, nn.Parameter) and name not in self._written
                tensor.data = values[name].data if shared else values[name].detach().clone()
