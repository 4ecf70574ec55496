"""The rules: what each operator does to labels, and how it is computed with cut channels masked.

A rule is registered under the operator's schema name ("aten::convolution"); importing `graph.ops` registers all.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tui_prune.graph.tracer import Tracer

Rule = Callable[["Tracer", "Call"], None]
MaskedRule = Callable[["Call", Callable[[Tensor], dict[tuple[int, ...], Tensor]]], Any]
AnyRule = TypeVar("AnyRule", bound=Callable[..., Any])

RULES: dict[str, Rule] = {}
MASKED: dict[str, MaskedRule] = {}

_POSITIONS: dict[torch._ops.OpOverload, dict[str, int]] = {}


class NotUnderstood(Exception):
    """Raised by a rule for a use of an operator that it can't follow; the message says which, after a colon."""


class Call:
    """One call of an operator: its arguments by the schema's names, and what came out."""

    __slots__ = ("args", "func", "kwargs", "out")

    def __init__(self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        self.func, self.args, self.kwargs, self.out = func, args, kwargs, out

    def arg(self, name: str, default: Any = None) -> Any:
        """The argument that the schema calls `name`, or `default` where the call (or the schema) leaves it out."""
        positions = _POSITIONS.get(self.func)
        if positions is None:
            positions = {a.name: i for i, a in enumerate(self.func._schema.arguments)}
            _POSITIONS[self.func] = positions
        index = positions.get(name, len(self.args))
        return self.args[index] if index < len(self.args) else self.kwargs.get(name, default)

    @property
    def first_out(self) -> Tensor:
        """The output, or the first of several."""
        return self.out[0] if isinstance(self.out, (tuple, list)) else self.out

    @property
    def name(self) -> str:
        """The operator as a person would name it: "native_layer_norm"."""
        return self.func._schema.name.rpartition("::")[2]


def rule(*operators: str) -> Callable[[AnyRule], AnyRule]:
    """Register what the named operators do to labels. Raises `ValueError` for one that has a rule."""
    return _register(RULES, operators)


def masked(*operators: str) -> Callable[[AnyRule], AnyRule]:
    """Register how the named operators are computed when cut channels must not count.

    The function gets the call (without output) and a function that gives, for a tensor, the kept mask of each of its
    labels by dimensions (only labels of which something is cut); it returns the output. Cut positions of the output
    may hold anything that is finite. Raises `ValueError` for an operator that has one.
    """
    return _register(MASKED, operators)


def _register(registry: dict[str, Any], operators: tuple[str, ...]) -> Callable[[AnyRule], AnyRule]:
    def register(function: AnyRule) -> AnyRule:
        for operator in operators:
            name = operator if "::" in operator else f"aten::{operator}"
            if name in registry:
                raise ValueError(f"two rules for {name}")
            registry[name] = function
        return function

    return register
