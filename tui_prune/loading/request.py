"""What the user asks to be opened, as the command line and the start screen name it."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class OpenRequest:
    """A network with all that belongs to it, in the user's own words (`loading.open_model`)."""

    spec: str | None = None
    """A name, "file.py:factory" or a file; None is the bundled network."""
    weights: str | None = None
    input_spec: str | None = None
    task: str | None = None
    device: str = "cpu"
    latency_table: str | None = None
    """A file with what calls take on the device that plans are for; None: on this one."""
    jobs: int | None = None
    """Processes that share out long work; None: this one does it."""
    cluster: str | None = None
    """The address of a cluster that does it."""

    @property
    def names_nothing(self) -> bool:
        """Whether it leaves open what is to be opened."""
        return self.spec is None and self.weights is None and self.input_spec is None and self.task is None

    @property
    def name(self) -> str:
        """What is being opened, in a word."""
        if self.spec is None:
            return Path(self.weights).name if self.weights else "nin"
        return Path(self.spec).name if os.sep in self.spec else self.spec

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "OpenRequest":
        """The request that `to_dict` was made of; what it doesn't know is left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})
