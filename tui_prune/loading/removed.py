"""Modules of a residual branch that has gone: they are passed by, and what the branch adds is zero.

A checkpoint names them as it names sizes, as edits of the attribute `REMOVED`: the value is how many results the module
gave (others than the first become None), or 0 where it takes one tensor and gives one. The path says whether the first
result is its input or zeros.
"""

from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from tui_prune.archives.origin import Edit

REMOVED = "(removed)"
INPUT, ZEROS = "input", "zeros"
_MOST_RESULTS = 8


class Removed(nn.Module):
    """In the place of a module that takes or gives several values."""

    def __init__(self, first: str, results: int) -> None:
        super().__init__()
        self.first, self.results = first, results

    def forward(self, x: Tensor, *others: Any, **keywords: Any) -> Any:
        first = torch.zeros_like(x) if self.first == ZEROS else x
        return first if self.results == 1 else (first, *([None] * (self.results - 1)))

    def extra_repr(self) -> str:
        return f"gives {'zeros' if self.first == ZEROS else 'its input'}"


def is_removal(edit: Edit) -> bool:
    """Whether an edit says that a module has gone."""
    return edit.attribute == REMOVED


def is_right(edit: Edit) -> bool:
    """Whether such an edit is one that a cut makes."""
    return edit.path in ((INPUT,), (ZEROS,)) and type(edit.value) is int and 0 <= edit.value <= _MOST_RESULTS


def remove(model: nn.Module, edit: Edit) -> None:
    """Put something without weights in the place of a module: one of PyTorch's own where it takes and gives one tensor,
    so that a file of the whole network needs nothing else."""
    parent, _, name = edit.module.rpartition(".")
    modules = model.get_submodule(parent)._modules
    old, new = modules[name], _in_place_of(edit)
    new.training = old is not None and old.training
    modules[name] = new


def _in_place_of(edit: Edit) -> nn.Module:
    (first,) = edit.path
    if isinstance(edit.value, int) and edit.value > 0:
        return Removed(str(first), edit.value)
    return nn.Identity() if first == INPUT else nn.Threshold(inf, 0.0)


def inside_removed(name: str, edits: "tuple[Edit, ...]") -> bool:
    """Whether a tensor belongs to a module that has gone."""
    return any(name.startswith(f"{edit.module}.") for edit in edits if is_removal(edit))
