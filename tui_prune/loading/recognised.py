"""What is known of a weights file whose network nobody named."""

from dataclasses import dataclass
from typing import Any

from tui_prune.archives.origin import Origin
from tui_prune.loading.sources.registry import SOURCES


@dataclass(frozen=True)
class Recognised:
    """The network that weights belong to: all of its tensors are in the file, and none besides."""

    origin: Origin
    exact: bool
    """All names and shapes are equal. Otherwise the network can still read them: they have older names."""
    tensors: int
    """How many of them fit: all that the file has."""
    classes: int | None = None
    """The number of classes of its head; None where it has none that is known."""
    others: tuple[Origin, ...] = ()
    """Networks with the same names and shapes, which fit as well."""
    decided: str = ""
    """Why it is this one and none of `others`; empty where there are none."""

    @property
    def certain(self) -> bool:
        """Whether no other network that was compared fits."""
        return not self.others

    def __str__(self) -> str:
        """A sentence: recognised as resnet50, 10 classes: all 320 tensors fit."""
        classes = f", {self.classes} classes" if self.classes else ""
        said = f"recognised as {spec_of(self.origin)}{classes}: all {self.tensors} tensors fit"
        if not self.others:
            return f"{said}."
        names = ", ".join(map(spec_of, self.others))
        return f"{said}, but they fit {names}, too; {self.decided}."

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `fits` is the share of names and shapes that fit, 0 to 1."""
        return {
            "network": spec_of(self.origin),
            "classes": self.classes,
            "certain": self.certain,
            "fits": 1.0,
            "tensors": self.tensors,
            "others": list(map(spec_of, self.others)),
        }


def spec_of(origin: Origin) -> str:
    """The name by which a user opens a network that can be built by name."""
    prefix = SOURCES[origin.kind].prefix if origin.kind in SOURCES else ""
    return f"{prefix}{origin.name}"
