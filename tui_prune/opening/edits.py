"""Size attributes of a cut network's modules: which ones there are, and setting them."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from tui_prune.errors import TuiPruneError
from tui_prune.opening.opened import Edit

EDITABLE = frozenset(
    {
        "all_head_size",
        "attention_head_size",
        "attn_dim",
        "channels",
        "d",
        "d_inner",
        "d_model",
        "dh",
        "dim",
        "dim_attn",
        "dim_head",
        "dim_head_qk",
        "dim_head_v",
        "dim_out",
        "dim_out_qk",
        "dim_out_v",
        "dim_qk",
        "dim_v",
        "embed_dim",
        "embed_dims",
        "embedding_dim",
        "expand_chs",
        "groups",
        "head_dim",
        "head_size",
        "heads",
        "hidden_channels",
        "hidden_dim",
        "hidden_size",
        "in_channels",
        "in_chs",
        "in_dim",
        "in_features",
        "inner_dim",
        "input_size",
        "kdim",
        "key_attn_dim",
        "key_dim",
        "mid_channels",
        "n_heads",
        "normalized_shape",
        "num_channels",
        "num_embeddings",
        "num_features",
        "num_groups",
        "num_heads",
        "num_parameters",
        "out_channels",
        "out_chs",
        "out_dim",
        "out_features",
        "pdim",
        "planes",
        "qk_dim",
        "scale",
        "shape",
        "v_dim",
        "val_attn_dim",
        "val_dim",
        "value_dim",
        "vdim",
        "width",
        "_qkv_same_embed_dim",
    }
)
"""The only attributes that a checkpoint may set."""


def check_edits(module: nn.Module, edits: Iterable[Edit]) -> None:
    """Raises `TuiPruneError` when an edit is none that `apply_edits` makes; nothing is changed."""
    parts = dict(module.named_modules(remove_duplicate=False))
    for edit in edits:
        where = f"{edit.module}.{edit.attribute}" if edit.module else edit.attribute
        if edit.module not in parts:
            raise TuiPruneError(f"{where} can't be set: the network has no module {edit.module!r}.")
        if edit.attribute not in EDITABLE:
            raise TuiPruneError(f"{where} can't be set: it is no size of a module.")
        if edit.attribute not in vars(parts[edit.module]):
            raise TuiPruneError(f"{where} can't be set: a {type(parts[edit.module]).__name__} has no such attribute.")
        if not same_kind(edit.value, getattr(parts[edit.module], edit.attribute)):
            raise TuiPruneError(f"{where} can't be set to {edit.value!r}: it is a value of another kind.")


def apply_edits(module: nn.Module, edits: Iterable[Edit]) -> None:
    """Set the attributes, all or none; of two edits of one attribute the later counts.

    Raises `TuiPruneError` when one is not a size, or not there, or would change its kind.
    """
    edits = tuple(edits)
    check_edits(module, edits)
    for edit in edits:
        setattr(module.get_submodule(edit.module), edit.attribute, edit.value)


def same_kind(value: Any, present: Any) -> bool:
    """Whether a size may take the place of `present`: both whole numbers, both switches, both as many numbers."""
    if isinstance(value, tuple):
        return isinstance(present, tuple) and len(value) == len(present) and all(type(item) is int for item in value)
    return type(value) in (int, bool, float) and type(value) is type(present)
