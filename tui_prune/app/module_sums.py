"""What the layers in each module come to; for the rows of modules, which there may be thousands of."""

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from tui_prune.planning.plan import Pair

if TYPE_CHECKING:
    import numpy as np

    from tui_prune.planning.plan import Plan

NONE = Pair(0, 0)


class Sums(NamedTuple):
    """What all layers in a module come to."""

    channels: Pair = NONE
    """Outputs of the layers that put out channels of their own."""
    params: Pair = NONE
    macs: Pair = NONE
    bytes: Pair = NONE


class ModuleSums:
    """Those of one plan."""

    def __init__(self, plan: "Plan") -> None:
        import numpy as np  # once there is a plan, which no first frame has

        self._places, layers, modules = _above(tuple(layer.name for layer in plan.layers))
        values = [
            (
                *((layer.before, layer.after) if layer.producer else NONE),
                *layer.params,
                *layer.macs,
                *layer.bytes,
            )
            for layer in plan.layers
        ]
        self._totals = np.zeros((len(self._places), 2 * len(Sums._fields)), np.int64)
        np.add.at(self._totals, modules, np.array(values, np.int64).reshape(len(plan.layers), -1)[layers])
        self._known: dict[tuple[str, ...], Sums] = {}

    def of(self, paths: tuple[str, ...]) -> Sums:
        """What some modules, or layers, come to together."""
        if paths not in self._known:
            places = [self._places[path] for path in paths if path in self._places]
            numbers = self._totals[places].sum(axis=0).tolist()
            self._known[paths] = Sums(*(Pair(*numbers[n : n + 2]) for n in range(0, len(numbers), 2)))
        return self._known[paths]


_made: "WeakKeyDictionary[Plan, ModuleSums]" = WeakKeyDictionary()


def module_sums(plan: "Plan") -> ModuleSums:
    """The sums of a plan: made once for all that show it."""
    if plan not in _made:
        _made[plan] = ModuleSums(plan)
    return _made[plan]


@lru_cache(maxsize=2)
def _above(names: tuple[str, ...]) -> "tuple[dict[str, int], np.ndarray, np.ndarray]":
    """The place of each layer and of each module that it lies in; and, pair by pair, the layers and those places."""
    import numpy as np

    places: dict[str, int] = {}
    pairs = []
    for number, name in enumerate(names):
        path = name
        while path:
            pairs.append((number, places.setdefault(path, len(places))))
            path = path.rpartition(".")[0]
    layers, modules = np.array(pairs, np.int64).reshape(-1, 2).T
    return places, layers, modules
