"""What to do about a network that can't be opened: only what fits the sentence that says why."""

from tui_prune.loading.request import OpenRequest

NAMES = (
    "tui-prune takes the name of a torchvision model (resnet50), of timm's (timm:resnet50), of a bundled one (nin), "
    "file.py:factory, a weights file, or a checkpoint that it has written itself. tui-prune --help has the rest."
)
INPUT = "I types another example input: the shape that the network takes, such as 1,3,224,224."
AGAIN = "enter tries again, once that is mended."
AGAIN_STOPPED = "enter tries again."
OWN_CODE = "O opens your Python file that makes the network, and then asks for the weights."
CHOOSE = "O shows what else can be opened."

_FITTING: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("example input", "--input", "shape of an input", "too large for an example"), (INPUT,)),
    (("Name the code that makes it",), (OWN_CODE,)),
    (("don't fit",), (OWN_CODE, CHOOSE)),
    (("pip install",), (AGAIN, CHOOSE)),
    (("can't be read", "is empty", "cut short", "web page", "Git LFS", "no whole"), (AGAIN, CHOOSE)),
    (("There is no file", "is a folder", "no ordinary file"), (CHOOSE,)),
    (("would run", "runs whatever code"), (CHOOSE,)),
    (("Say which function", "Did you mean"), (CHOOSE,)),
    (("line ",), (AGAIN,)),
)
"""Words of sentences, and what fits them."""


def hints(request: OpenRequest, sentence: str, *, wrong_use: bool) -> list[str]:
    """Sentences that say what can be done here."""
    found = [hint for words, fitting in _FITTING if any(word in sentence for word in words) for hint in fitting]
    is_name = request.spec is not None and not any(mark in request.spec for mark in "/\\.")
    if wrong_use and is_name and request.weights is None and INPUT not in found:
        found.append(NAMES)
    return list(dict.fromkeys(found)) or [CHOOSE]
