"""What opening gives: a module, how it can be built again, and what it wants to see."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from tui_prune.errors import TuiPruneError
from tui_prune.wording import count

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tui_prune.opening.guess_input import Guess
    from tui_prune.opening.recognised import Recognised

Kind = Literal["torchvision", "timm", "bundled", "file", "module"]
EditValue = int | tuple[int, ...]
Path = tuple[str | int, ...]
"""The way from an attribute's value to a number in it: keys of dicts, positions in sequences, names in objects."""


@dataclass(frozen=True)
class Origin:
    """How a module can be built again."""

    kind: Kind
    """`torchvision`, `timm`, `bundled`: from fixed lists of names. `file` and `module`: only its owner can build it."""
    name: str
    """"resnet50", "nin", "/home/ada/net.py:make", or the qualified name of a class."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Plain keyword arguments of the factory that aren't at their default, such as `num_classes`."""

    @property
    def title(self) -> str:
        """The name in a form that fits a title line."""
        if self.kind == "file":
            return self.name.replace("\\", "/").rpartition("/")[2]
        return self.name.rpartition(".")[2] if self.kind == "module" else self.name

    @property
    def buildable(self) -> bool:
        """Whether `build` can build it without its owner."""
        return self.kind in ("torchvision", "timm", "bundled")

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"kind": self.kind, "name": self.name, "arguments": dict(self.arguments)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Origin":
        """The origin that `to_dict` gave. Raises `TuiPruneError` when the values are anything else."""
        kind, name, arguments = (values.get(key) for key in ("kind", "name", "arguments"))
        if kind not in get_args(Kind) or not isinstance(name, str) or not isinstance(arguments, dict):
            raise TuiPruneError("It doesn't say in a known way how its network is built.")
        return cls(cast(Kind, kind), name, arguments)


@dataclass(frozen=True)
class Edit:
    """One size that one module of a cut network keeps."""

    module: str
    attribute: str
    value: EditValue
    path: Path = ()
    """Where the attribute holds several: the way to the size in it."""

    @property
    def place(self) -> str:
        """In the form "blocks.0.config.sizes.1"."""
        return ".".join(map(str, filter(lambda step: step != "", (self.module, self.attribute, *self.path))))


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
