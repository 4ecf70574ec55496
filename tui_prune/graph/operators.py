"""What is to be known of an operator, asked once of each."""

from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import flop_registry

from tui_prune.graph import ops as rules
from tui_prune.graph.constants import JOINS, MAKERS, REPEATS
from tui_prune.graph.registry import RULES, Rule

# Calls that only make new tensors or read sizes: what they are given says nothing about what they put out.
_WITHOUT_LABELS = frozenset(
    f"aten::{name}"
    for name in (
        "new_zeros new_ones new_empty new_full new_empty_strided sym_size "
        "sym_stride sym_numel is_same_size size empty empty_strided zeros ones full arange scalar_tensor rand randn "
        "lift_fresh _assert_async"
    ).split()
)


_NUMBERS = ("number", "float")
_OF_KNOWN_SIZE = frozenset({"torchvision::deform_conv2d"})
_INDEXING = frozenset({"aten::index", "aten::index_put", "aten::index_put_"})


class Operator(NamedTuple):
    """Of an operator: its rule, whether it counts as work, whether it gives back memory of its argument."""

    rule: Rule | None
    costs: bool
    makes: bool
    """Whether it makes a tensor of equal values, or repeats what it is given."""
    joins: bool
    """Whether it puts tensors side by side: one of equal values may have any width there."""
    aliases: bool
    numbers: tuple[str, ...]
    """The arguments that are numbers and neither sizes nor places."""
    reads_values: bool
    """Whether its result is a number for Python, or has a size that depends on values; or that isn't known."""
    indexes: bool
    """Whether it takes positions or a mask. With a mask, the size of its result depends on values."""


def look_up(func: Any) -> Operator:
    """Ask all of it."""
    returns = func._schema.returns
    aliases = bool(returns) and returns[0].alias_info is not None
    costs = func.overloadpacket in flop_registry
    numbers = tuple(
        a.name for a in func._schema.arguments if str(a.type).removeprefix("Optional[").startswith(_NUMBERS)
    )
    makes = func._schema.name in MAKERS or func._schema.name in REPEATS
    name = func._schema.name
    return Operator(
        _find_rule(func), costs, makes, name in JOINS, aliases, numbers, reads_values(func), name in _INDEXING
    )


def reads_values(func: Any) -> bool:
    """Whether an operator's result is a number for Python, or has a size that depends on values; or that isn't
    known."""
    if func.namespace != "aten":
        return func._schema.name not in _OF_KNOWN_SIZE
    if func._schema.name in _INDEXING:
        return False  # only by masks, which are told by their type
    return bool({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}.intersection(func.tags))


def _find_rule(func: Any) -> Rule | None:
    """The rule of an operator; an in-place variant has the rule of its twin."""
    name = func._schema.name
    for candidate in (name, name.rstrip("_")):
        if candidate in _WITHOUT_LABELS:
            return None
        if candidate in RULES:
            return RULES[candidate]
    return RULES["aten::add"] if torch.Tag.pointwise in func.tags else rules.unknown
