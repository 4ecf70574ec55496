"""The networks that come with tui-prune."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

import tui_prune.models as models
from tui_prune.loading.opened import OpenedModel

KIND = "bundled"
DEFAULT = "nin"
ARGUMENTS = frozenset({"num_classes", "widths"})
_TRAINED_WEIGHTS = {"nin": "nin_digits.safetensors"}
_TASK = Path(models.__path__[0]) / "digits.py"


def bundled_names() -> tuple[str, ...]:
    """All names, in the order of the list."""
    return tuple(models.NETWORKS)


def build_bundled(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The network with random weights."""
    return models.factory(name)(**arguments)


def bundled_input_spec(name: str) -> str:
    """The shape of an input that the network is meant for."""
    return models.NETWORKS[name].input_spec


def bundled_source(name: str) -> str:
    """The Python module that defines the network."""
    return f"{models.__name__}.{models.NETWORKS[name].file.removesuffix('.py')}"


def trained_weights(name: str) -> Path | None:
    """The file of trained weights that comes with the network, if there is one."""
    file = _TRAINED_WEIGHTS.get(name)
    return Path(models.__path__[0]) / file if file else None


def bundled_task(spec: str | None, weights: object = None) -> Path | None:
    """The task file that comes with a network's own trained weights; None where there is none, or other weights."""
    name = DEFAULT if spec is None else spec
    return _TASK if name in _TRAINED_WEIGHTS and weights is None else None


def task_of_pruned(opened: OpenedModel) -> Path | None:
    """The task file for a pruned checkpoint of a network that comes with trained weights and a task; None for any other
    network, and where the checkpoint's has other outputs or inputs."""
    origin = opened.origin
    if origin.kind != KIND or origin.name not in _TRAINED_WEIGHTS or origin.arguments or not opened.kept:
        return None
    return _TASK if opened.input_spec == bundled_input_spec(origin.name) else None
