"""The orders that the rows of the tree can have, and the figure that each shows."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tui_prune.planning.plan import LayerPlan
    from tui_prune.search.sensitivity import Sensitivity


class Order(NamedTuple):
    """How the rows are ordered."""

    words: str
    """ "by MACs"."""
    figure: str
    """What the column of figures is called; they are per cent."""


TREE = "tree"
SENSITIVITY = "sensitivity"
ORDERS = {
    TREE: Order("as in the model", "MACs %"),
    "macs": Order("by MACs", "uncut %"),
    "params": Order("by parameters", "uncut %"),
    SENSITIVITY: Order("by sensitivity", "lost %"),
    "cut": Order("by share cut", "cut %"),
}
"""All but the first show layers alone. Rows in the order of MACs or of parameters show what they are ordered by: the
share before the cut. As in the model they show what is left, in per cent of the uncut network's MACs."""

COLUMNS = {"name": TREE, "width": "params", "bar": "macs", "figure": "macs", "state": "cut", "marks": SENSITIVITY}
"""The order that a click on the name of a column gives."""


def following(order: str, *, scanned: bool) -> str:
    """The order that comes next; that by sensitivity is passed over where no layer was scanned."""
    names = [name for name in ORDERS if scanned or name != SENSITIVITY]
    return names[(names.index(order) + 1) % len(names)] if order in names else TREE


def ranked(layers: Sequence["LayerPlan"], order: str, lost: Mapping[str, float]) -> tuple[str, ...]:
    """The names of layers, those that matter most first. MACs and parameters count as they were before the cut, so
    that rows keep their places while one tries ratios."""

    def weight(layer: "LayerPlan") -> float:
        if order == "macs":
            return layer.macs.before
        if order == "params":
            return layer.params.before
        if order == SENSITIVITY:
            return lost.get(layer.name, float("-inf"))
        return 1 - layer.after / layer.before if layer.before else 0.0

    return tuple(layer.name for layer in sorted(layers, key=weight, reverse=True))


def losses(found: "Sensitivity | None") -> dict[str, float]:
    """By layer, what a scan says is lost of the score when it is cut: the mean over the ratios that were tried."""
    lost: dict[str, float] = {}
    for curve in found.curves if found is not None else ():
        if found is not None and curve.points:
            mean = sum(point.score for point in curve.points) / len(curve.points)
            share = (found.reference - mean) / (abs(found.reference) or 1.0)
            lost |= dict.fromkeys(curve.layers, share)
    return lost
