"""What opening gives: a module, how it can be built again, and what it wants to see."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tui_prune.archives.origin import Edit, Origin
from tui_prune.formatting import count

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tui_prune.loading.guess_input import Guess
    from tui_prune.loading.recognised import Recognised


@dataclass(frozen=True, eq=False)
class OpenedModel:
    """A network that was opened, with an input to run it on."""

    title: str
    origin: Origin
    module: "nn.Module"
    """In eval mode on the device that was asked for; a module that the caller passed stays as it is, where it is."""
    example_inputs: tuple[Any, ...]
    """Positional arguments of `forward`: tensors, or lists of tensors where images are listed."""
    example_kwargs: "Mapping[str, Any]"
    """Keyword arguments of `forward`."""
    input_spec: str
    """The shape of the inputs in the form "1,3,32,32"; empty where they can't be written so."""
    weights: str | None
    """Name of the file that the weights are from. None: no file."""
    edits: tuple[Edit, ...] = ()
    """What an earlier cut has changed: those of the pruned checkpoint that was opened."""
    kept: "Mapping[str, Tensor]" = field(default_factory=dict)
    """What an earlier cut has kept: positions on the axes ("conv1.weight/0") of the network before that cut."""
    recognised: "Recognised | None" = None
    """How the network was told from its weights, where nobody named it."""
    guess: "Guess | None" = None
    """How the example input was found, where nobody gave one."""
    notes: tuple[str, ...] = ()
    """Sentences that the user should see."""

    def __repr__(self) -> str:
        """One line, without the weights."""
        said = count(sum(parameter.numel() for parameter in self.module.parameters()))
        run_on = f", runs on {self.input_spec}" if self.input_spec else ""
        return f"OpenedModel({self.title}: weights from {self.weights or 'no file'}, {said} parameters{run_on})"
