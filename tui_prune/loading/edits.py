"""Sizes that modules of a cut network keep: which a checkpoint may set, and setting them."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from tui_prune.archives.origin import Edit
from tui_prune.errors import TuiPruneError
from tui_prune.loading.places import is_whole_number, number_at, set_number
from tui_prune.loading.removed import is_removal, is_right, remove


def check_edits(module: nn.Module, edits: Iterable[Edit]) -> None:
    """Raises `TuiPruneError` when an edit is none that a cut makes; nothing is changed.

    A cut sets whole numbers that are there to smaller ones, and leaves modules out, so a file can't do more.
    """
    parts = dict(module.named_modules(remove_duplicate=False))
    for edit in edits:
        where = edit.place
        if edit.module not in parts:
            raise TuiPruneError(f"{where} can't be set: the network has no module {edit.module!r}.")
        if is_removal(edit):
            if not edit.module or not is_right(edit):
                raise TuiPruneError(f"{edit.module or 'The network'} can't be left out: no cut does so.")
            continue
        try:
            present = number_at(parts[edit.module], edit.attribute, edit.path)
        except LookupError:
            kind = type(parts[edit.module]).__name__
            raise TuiPruneError(f"{where} can't be set: a {kind} has no such attribute.") from None
        if not _is_smaller(edit.value, present):
            raise TuiPruneError(f"{where} can't be set to {edit.value!r}: it is no size that a cut leaves.")


def apply_edits(module: nn.Module, edits: Iterable[Edit]) -> None:
    """Set the sizes and leave out what has gone, all or nothing; of two edits of one place the later counts.

    Raises `TuiPruneError` when one is not a size, or not there, or would become larger.
    """
    edits = tuple(edits)
    check_edits(module, edits)
    for edit in edits:
        if is_removal(edit):
            remove(module, edit)
    for edit in edits:
        if is_removal(edit):
            continue
        set_number(module.get_submodule(edit.module), edit.attribute, edit.path, edit.value)


def _is_smaller(value: Any, present: Any) -> bool:
    """Whether a size may take the place of `present`: a whole number that isn't larger, or as many such numbers."""
    if isinstance(value, tuple):
        return isinstance(present, tuple) and len(value) == len(present) and all(map(_is_smaller, value, present))
    if type(value) is not int or not is_whole_number(present):
        return False
    return getattr(present, "is_meta", False) or 0 <= value <= int(present)
