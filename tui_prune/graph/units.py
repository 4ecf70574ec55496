"""How what can be cut in two ways is cut."""

from typing import NamedTuple


class Units(NamedTuple):
    """The recipe's fields of these names."""

    grouped: str = "auto"
    """Grouped convolutions and norms: "even" in each group, "whole" groups, or "auto"."""
    heads: str = "width"
    """Attention: places in each head ("width"), "whole" heads, or "auto"."""
