"""Example inputs from a few characters: "1,3,224,224"."""

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor

from tui_prune.errors import Remedy, UsageError
from tui_prune.formatting import shown
from tui_prune.memory import free_memory

EXPLANATION = (
    'Write the sizes with commas ("1,3,224,224"), a semicolon between two inputs ("1,3,32,32;1,10"), '
    'a name before one that forward takes by its name ("1,3,32,32;mask=1,10"), '
    ':int behind an input of whole numbers ("1,16:int"), and brackets around a list of images ("[3,320,320]").'
)
SEED = 0
_LARGEST = 2**31
"""Elements of all inputs together."""
_LONGEST = 1000
"""Characters; nobody types more."""
_SHARE = 8
"""So many times the example input itself, a forward pass takes at least."""
_INPUT = re.compile(r"((?P<name>[^\W\d]\w*)=)?(?P<list>\[)?(?P<sizes>\d+(?:,\d+)*)(?(list)\])(?P<whole>:int)?")


Inputs = tuple[Tensor | list[Tensor], ...]
Keywords = dict[str, Tensor | list[Tensor]]


@dataclass(frozen=True)
class InputShape:
    """One input."""

    sizes: tuple[int, ...]
    listed: bool = False
    """The input is a list that holds one tensor of these sizes, as torchvision's detectors take it."""
    whole: bool = False
    """Whole numbers, 0 or 1, instead of normally distributed ones."""
    name: str | None = None
    """The keyword of `forward` that it is passed by. None: by its place."""

    def __str__(self) -> str:
        """In words: 1 x 16 whole numbers as mask."""
        sizes = " x ".join(map(str, self.sizes))
        listed = "a list of one " if self.listed else ""
        return f"{listed}{sizes}{' whole numbers' if self.whole else ''}{f' as {self.name}' if self.name else ''}"


def parse_input_spec(spec: str) -> tuple[InputShape, ...]:
    """The inputs that `spec` stands for. Raises `UsageError` when it can't be read."""
    if len(spec) > _LONGEST:
        raise UsageError(f"{shown(spec)} is too long for the shape of an input. {EXPLANATION}", remedies=[Remedy.INPUT])
    shapes = tuple(_parse_input(part, spec) for part in re.sub(r"\s", "", spec).split(";"))
    elements = sum(math.prod(shape.sizes) for shape in shapes)
    free = free_memory()
    if elements > _LARGEST or (free is not None and 4 * elements * _SHARE > free):
        raise UsageError(
            f"{shown(spec)} is too large for an example input; a batch of 1 is enough.", remedies=[Remedy.INPUT]
        )
    names = [shape.name for shape in shapes if shape.name is not None]
    if len(set(names)) < len(names):
        raise UsageError(f"{shown(spec)} names an input twice. {EXPLANATION}", remedies=[Remedy.INPUT])
    return shapes


def make_example_inputs(
    spec: str, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[Inputs, Keywords]:
    """Random positional and keyword arguments of `forward`, the same ones for the same `spec`.

    Raises `UsageError` when it can't be read.
    """
    generator = torch.Generator().manual_seed(SEED)
    inputs: list[Tensor | list[Tensor]] = []
    keywords: dict[str, Tensor | list[Tensor]] = {}
    for shape in parse_input_spec(spec):
        if shape.whole:
            values = torch.randint(0, 2, shape.sizes, generator=generator).to(device)
        else:
            values = torch.randn(shape.sizes, generator=generator).to(device, dtype)
        value = [values] if shape.listed else values
        if shape.name is None:
            inputs.append(value)
        else:
            keywords[shape.name] = value
    return tuple(inputs), keywords


def _parse_input(part: str, spec: str) -> InputShape:
    match = _INPUT.fullmatch(part)
    if match is None:
        raise UsageError(f"{shown(spec)} is not the shape of an input. {EXPLANATION}", remedies=[Remedy.INPUT])
    sizes = tuple(int(size) for size in match["sizes"].split(","))
    if 0 in sizes:
        raise UsageError(
            f"{shown(spec)} has a size of 0: an example input needs at least one element. {EXPLANATION}",
            remedies=[Remedy.INPUT],
        )
    return InputShape(sizes, match["list"] is not None, match["whole"] is not None, match["name"])
