"""The kinds of pictures: a function each, and one entry in `KINDS`. Importing this loads no torch and no numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tui_prune.session.looking import Look

BARS, TALL, LIST = 9, 22, 14
"""Rows that a picture needs, its heading included."""


class Needs(Enum):
    """What has to be done before a picture can be made."""

    NOTHING = auto()
    SCORES = auto()
    """Channels are scored."""
    ACTIVATIONS = auto()
    """The task's calibration data is run."""
    RECONSTRUCTION = auto()
    """The layers of the cut network are refitted."""


@dataclass(frozen=True)
class Kind:
    """What is known of a kind of pictures before its file is read."""

    name: str
    """What a line of the kinds calls it."""
    words: str
    """What it shows of a layer."""
    maker: str
    """The function that makes the pictures, as "module:function": it takes a `Look`, a `View` and a number of columns,
    and gives some `Picture`s (`report.gallery`)."""
    is_there: Callable[[Look], bool]
    """Whether there are such pictures of a place."""
    of_network: bool = False
    """Whether it speaks of a module, or of the whole network, as well."""
    rows: int = BARS
    """That all of its pictures need, headings included."""
    grows: bool = False
    """Whether it has a row for each of many things, and so as many as it needs."""
    needs: Needs = Needs.NOTHING
    keys: str = ""
    """What is worth doing with it in the app, said beside it."""
    turns: bool = False
    """Whether it is drawn at an angle."""
    moves_threshold: bool = False
    """Whether the keys left and right move the recipe's threshold by it."""
    missing: str = "{name} has no weights to draw; choose another layer."
    """What to say where there is none, with the name of the place, and the reason why its layer has no channels."""

    @property
    def make(self) -> Callable[..., Any]:
        """The function that makes the pictures."""
        module, _, function = self.maker.partition(":")
        made: Callable[..., Any] = getattr(import_module(module), function)
        return made


def _has_weights(look: Look) -> bool:
    return look.details is not None and look.details.weights is not None


GALLERY = "tui_prune.report.gallery"
KINDS = {
    "hist": Kind("weights", "its weights as a histogram", f"{GALLERY}:weights", _has_weights),
    "scores": Kind(
        "scores",
        "its channels ranked, with the cut",
        f"{GALLERY}:scores",
        lambda look: look.details is not None and look.details.scores is not None,
        needs=Needs.SCORES,
        missing="{name} has no channels to score: {reason}.",
    ),
    "scales": Kind(
        "scales",
        "batch norm scales, with those that go",
        f"{GALLERY}:scales",
        lambda look: look.norms is not None,
        of_network=True,
        keys="← →: cut",
        moves_threshold=True,
        missing="No batch norm with scales runs over {name}; choose another layer, or another kind.",
    ),
    "heat": Kind("heat", "its weights as a picture", f"{GALLERY}:heat", _has_weights, rows=TALL, keys="z: zoom"),
    "surface": Kind(
        "3D",
        "the sizes of its weights in 3D",
        f"{GALLERY}:surface",
        _has_weights,
        rows=TALL,
        keys="< >: turn",
        turns=True,
    ),
    "activations": Kind(
        "activations",
        "what it puts out for the task's calibration data",
        f"{GALLERY}:activations",
        lambda look: look.details is not None and look.calibration,
        rows=2 * BARS,
        needs=Needs.ACTIVATIONS,
    ),
    "costs": Kind(
        "costs",
        "MACs and parameters of all layers",
        f"{GALLERY}:costs",
        lambda look: True,
        of_network=True,
        rows=LIST,
        grows=True,
    ),
    "errors": Kind(
        "errors",
        "what the cut got wrong in each layer, and what is left of it once the layers are refitted",
        f"{GALLERY}:errors",
        lambda look: look.reconstruction is not None,
        of_network=True,
        rows=LIST,
        needs=Needs.RECONSTRUCTION,
    ),
}
"""By the names that the command line gives them, in the order that the app has them in."""


def kinds_of(look: Look) -> tuple[str, ...]:
    """The kinds of pictures that there are of a place."""
    is_layer = look.details is not None
    return tuple(name for name, kind in KINDS.items() if (is_layer or kind.of_network) and kind.is_there(look))
