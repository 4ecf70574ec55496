"""An example input for a network of which nobody has said what it takes: shapes are tried until its forward passes."""

import inspect
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
from torch import nn

from tui_prune.copies.modules import named_tensors
from tui_prune.copies.outside import Outside
from tui_prune.copies.stand_in import stand_in
from tui_prune.loading.input_spec import make_example_inputs
from tui_prune.progress import Progress, silent

IMAGES = (224, 32, 64, 28, 299, 128, 256, 96, 48, 512, 384, 112, 84, 40, 16, 8, 227, 240, 160, 192)
"""Sides of square images: most networks for images take any that is large enough, some only their own."""
SMALL_IMAGES = (28, 32)
"""Tried first where there is one colour."""
CLIPS = ("16,112,112", "8,32,32", "16,64,64", "16,224,224", "32,32,32", "64,64,64")
SIGNALS = (16000, 1024, 128, 4096, 512, 256, 64, 32)
TOKENS = 16
_STRANGERS = (3, 1)
"""Channels of an image where no layer says how many."""
_MOST_INPUTS = 4


@dataclass(frozen=True)
class Guess:
    """The shape of an input that a network may take."""

    spec: str
    tried: int
    """How many shapes were tried, this one too."""
    runs: bool
    """Whether the network runs on it. Otherwise it runs on none that was tried, and this is the likeliest."""

    def __str__(self) -> str:
        """What to tell the user."""
        if self.runs:
            return f"The example input {self.spec} is a guess; --input (in the app: I) gives another."
        others = f" and {self.tried - 1} other shapes" if self.tried > 1 else ""
        return f"{self.spec}{others} were tried." if others else f"Only {self.spec} was tried."


def guess_input(
    module: nn.Module,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress = silent,
    *,
    first: Sequence[str] = (),
) -> Guess:
    """The first likely shape on which a copy of the network runs; the network itself stays as it is.

    Those of `first` are tried before all others.
    """
    with _copied(module) as trial:
        return _guessed(module, trial, device, dtype, progress, first)


def _guessed(
    module: nn.Module,
    trial: nn.Module,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress,
    first: Sequence[str],
) -> Guess:
    count = _required_inputs(module)
    specs = list(dict.fromkeys([*first, *(";".join([spec] * count) for spec in _candidates(module))]))
    for index, spec in enumerate(specs):
        progress("try inputs", index / len(specs))
        inputs, keywords = make_example_inputs(spec, device, dtype)
        with suppress(Exception, SystemExit), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial(*inputs, **keywords)
            return Guess(spec, index + 1, True)
    return Guess(specs[0], len(specs), False)


def _candidates(module: nn.Module) -> Iterator[str]:
    """Shapes by the layers that there are: those of the kind that comes first in the network are tried first."""
    seen: set[type] = set()
    for part in module.modules():
        if type(part) in seen:
            continue
        shapes = list(_shapes(part))
        if shapes:
            seen.add(type(part))
            yield from shapes
    for channels in _STRANGERS:
        yield from _images(channels)


def _shapes(layer: nn.Module) -> Iterator[str]:
    """Shapes that a network may take whose first layer this is."""
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        yield from _images(layer.in_channels)
    elif isinstance(layer, (nn.Conv1d, nn.ConvTranspose1d)):
        yield from (f"1,{layer.in_channels},{length}" for length in SIGNALS)
    elif isinstance(layer, (nn.Conv3d, nn.ConvTranspose3d)):
        yield from (f"1,{layer.in_channels},{size}" for size in CLIPS)
    elif isinstance(layer, (nn.Embedding, nn.EmbeddingBag)):
        yield from (f"1,{TOKENS}:int", f"{TOKENS}:int", "1:int")
    elif isinstance(layer, nn.Linear):
        yield from (f"1,{layer.in_features}", f"1,{TOKENS},{layer.in_features}")
        for channels in (1, 3):  # of an image that is flattened first
            side = math.isqrt(layer.in_features // channels)
            if channels * side * side == layer.in_features:
                yield f"1,{channels},{side},{side}"
    elif isinstance(layer, nn.RNNBase):
        yield f"1,{TOKENS},{layer.input_size}"
    elif isinstance(layer, nn.TransformerEncoderLayer):
        yield f"1,{TOKENS},{layer.self_attn.embed_dim}"
    elif isinstance(layer, (nn.BatchNorm2d, nn.InstanceNorm2d)):
        yield from _images(layer.num_features)


def _images(channels: int) -> Iterator[str]:
    first = SMALL_IMAGES if channels == 1 else ()
    yield from (f"1,{channels},{side},{side}" for side in dict.fromkeys((*first, *IMAGES)))


def _required_inputs(module: nn.Module) -> int:
    """How many inputs forward can't do without; all are tried with the same shape."""
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):
        return 1
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [one for one in parameters if one.kind in by_place and one.default is inspect.Parameter.empty]
    return min(max(len(required), 1), _MOST_INPUTS)


@contextmanager
def _copied(module: nn.Module) -> Iterator[nn.Module]:
    """A copy, with weights of its own, because a network may change itself when it runs.

    Raises `TuiPruneError` where it can't be copied.
    """
    outside = Outside(module)
    with outside.put_back():
        yield stand_in(module, outside, [name for name, _ in named_tensors(module)]).eval()
