"""How a module can be built again, and the sizes that a cut has changed in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tui_prune.errors import TuiPruneError

FILE, MODULE = "file", "module"
"""The kinds of networks that only their owner can build: by a factory in a Python file, or by a class."""
EditValue = int | tuple[int, ...]
Path = tuple[str | int, ...]
"""The way from an attribute's value to a number in it: keys of dicts, positions in sequences, names in objects."""


@dataclass(frozen=True)
class Origin:
    """How a module can be built again."""

    kind: str
    """`torchvision`, `timm`, `bundled`: from fixed lists of names. `huggingface`: a class of transformers' and its
    configuration. `file` and `module`: only its owner can build it."""
    name: str
    """"resnet50", "nin", "/home/ada/net.py:make", or the qualified name of a class."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Plain keyword arguments of the factory that aren't at their default, such as `num_classes`."""

    @property
    def title(self) -> str:
        """The name in a form that fits a title line."""
        if self.kind == FILE:
            return self.name.replace("\\", "/").rpartition("/")[2]
        return self.name.rpartition(".")[2] if self.kind == MODULE else self.name

    @property
    def buildable(self) -> bool:
        """Whether `build` can build it without its owner."""
        return self.kind not in (FILE, MODULE)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"kind": self.kind, "name": self.name, "arguments": dict(self.arguments)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Origin":
        """The origin that `to_dict` gave. Raises `TuiPruneError` when the values are anything else."""
        kind, name, arguments = (values.get(key) for key in ("kind", "name", "arguments"))
        if not isinstance(kind, str) or not isinstance(name, str) or not isinstance(arguments, dict):
            raise TuiPruneError("It doesn't say in a known way how its network is built.")
        return cls(kind, name, arguments)


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
