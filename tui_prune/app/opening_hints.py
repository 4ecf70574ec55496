"""What to do about a network that can't be opened: only what fits the failure."""

from collections.abc import Collection

from tui_prune.errors import Remedy
from tui_prune.loading.request import OpenRequest

NAMES = (
    "tui-prune takes the name of a torchvision model (resnet50), of timm's (timm:resnet50), of a bundled one (nin), "
    "file.py:factory, a weights file, or a checkpoint that it has written itself. tui-prune --help has the rest."
)
AGAIN = "enter tries again, once that is mended."
AGAIN_STOPPED = "enter tries again."
CHOOSE = "O shows what else can be opened."

WORDS = {
    Remedy.INPUT: "I types another example input: the shape that the network takes, such as 1,3,224,224.",
    Remedy.OWN_CODE: "O opens your Python file that makes the network, and then asks for the weights.",
    Remedy.AGAIN: AGAIN,
    Remedy.OTHER: CHOOSE,
}


def hints(request: OpenRequest, remedies: Collection[Remedy], *, wrong_use: bool) -> list[str]:
    """Sentences that say what can be done here."""
    found = [words for remedy, words in WORDS.items() if remedy in remedies]
    is_name = request.spec is not None and not any(mark in request.spec for mark in "/\\.")
    if wrong_use and is_name and request.weights is None and Remedy.INPUT not in remedies:
        found.append(NAMES)
    return found or [CHOOSE]
