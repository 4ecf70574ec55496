"""What a trace has written down: axes and their slots, ties, locks, blocks, and the operators that cost something."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor, nn

from tui_prune.graph.derived import DerivedUses
from tui_prune.graph.labels import Labels
from tui_prune.graph.model_code import Line

MODEL_OUTPUT = "model output"
MODEL_INPUT = "model input"
BATCH_NORM = "batch norm"
LINEAR = "linear"
FEEDS = "feeds"
"""Of a tie: the channels are what a weight reads."""
ADDED = "added"
"""Of a tie: the channels meet in a sum."""
ONE_WITH_SEVERAL = "is one with each of several channels"
RESHAPED = "is reshaped into equal parts"
RECURRENT = "recurrent layers stay whole"


def positions_are(operator: str, read: str) -> str:
    """The reason of a lock on channels whose positions an operator gives."""
    return f"operator {operator} gives positions among them, which are {read}"


def owner_of(tensor: str) -> str:
    """The module that a user would name for a parameter or buffer: parametrizations belong to the module that has them;
    a tensor of the network itself stands for itself."""
    return tensor.rpartition(".")[0].partition(".parametrizations.")[0] or tensor


class Axis(NamedTuple):
    """One dimension of one parameter or buffer. Its slots are `first` to `first + size - 1`.

    An axis of a tensor that isn't among `TraceRecord.shapes` counts the heads of an attention (`Tracer.heads_of`).

    `groups` > 1: the slots of a grouped convolution's weight along the dimension that holds only one group's share
    (`size` counts all groups): row g of the (groups, size / groups) slots belongs to group g.
    """

    tensor: str
    dim: int
    first: int
    size: int
    groups: int = 1

    @property
    def slots(self) -> np.ndarray:
        return np.arange(self.first, self.first + self.size)


NAMED_OUTPUTS = 3
"""As many of the outputs that a lock stands for are named; the others are counted."""


class LockKind(Enum):
    """What a lock is about, where something depends on that."""

    OUTPUT = auto()
    """The channels leave the model."""
    UNEVEN = auto()
    """They fall into blocks of unequal size."""
    OTHER = auto()


@dataclass(frozen=True)
class Lock:
    """Why channels can't be cut, and the line of model code that says so, where there is one."""

    reason: str
    where: str | None = None
    outputs: tuple[str, ...] = ()
    """Of `OUTPUT`: which outputs, as code names them ("past_key_values[0]"). Empty: the network has only one."""
    kind: LockKind = LockKind.OTHER

    @property
    def is_output(self) -> bool:
        """Whether the channels stay only because they leave the model: such a lock may be lifted on purpose."""
        return self.kind is LockKind.OUTPUT

    @property
    def words(self) -> str:
        """The reason for a person, with the names of the outputs."""
        if not self.outputs:
            return self.reason
        more = len(self.outputs) - NAMED_OUTPUTS
        named = ", ".join(self.outputs[:NAMED_OUTPUTS])
        return f"{self.reason} ({named}{f' and {more} more' if more > 0 else ''})"


class Tie(NamedTuple):
    """Slots that stand and fall together, pair by pair; `why` names the operator or the kind of use."""

    left: Tensor
    right: Tensor
    why: str
    where: Line | None = None


class Block(NamedTuple):
    """Rows of slots of which equally many must stay in each."""

    rows: Tensor
    why: str
    where: Line | None = None


class View(NamedTuple):
    """A tensor that was reshaped: where, to which sizes, its labels now, the slots it carries, by which call.

    The sizes along which no label varies are the same in a cut network, if its code doesn't take channels for rows.
    """

    where: Line | None
    shape: tuple[int, ...]
    labels: Labels
    slots: tuple[Tensor, ...]
    call: int

    @property
    def labelled(self) -> frozenset[int]:
        """The dimensions along which labels vary."""
        return frozenset(d for dims in self.labels for d in dims)


HEADS = "heads"
GROUPED_CONVOLUTION = "grouped convolution"
GROUP_NORM = "group norm"


Way = Literal["either", "whole", "even"]
"""How groups can lose channels: whole ones at a time, evenly many of each, or in either of these ways."""


class HeadRows(NamedTuple):
    """Rows of channels (attention heads), of which whole ones can go, or evenly many places of each.

    Either the rows of a tensor and what stands for each of them (`Tracer.heads_of`, a bias for each head), or single
    places and what stands for the row that each is in.
    """

    rows: Tensor
    """Shape (rows, places); negative where a position can't go away."""
    heads: Tensor
    """Shape (rows,): the slot that goes with each row where whole ones go. It stays where places go."""
    lock: int
    """The lock that says so then."""


class Grouped(NamedTuple):
    """Channels in groups, of which whole ones can go or evenly many of each; slots are (groups, channels of one).

    Of a grouped convolution, block g of the inputs feeds block g of the outputs. Of a group norm, both are its
    channels, and `layer` is the module that keeps the number of groups.
    """

    layer: str
    inputs: Tensor
    outputs: Tensor
    kind: str = GROUPED_CONVOLUTION
    way: Way = "either"
    """Whole groups only, where the weights are normalised over a group's channels; evenly many only, where nothing
    keeps the number of groups."""

    @property
    def ties_sides(self) -> bool:
        """Whether a group has one channel in and out: the two are one."""
        return self.inputs.shape[1] == self.outputs.shape[1] == 1


class Scaling(NamedTuple):
    """A number that labelled values are multiplied with: often one over the root of a head's size."""

    factor: float
    slots: Tensor


class Made(NamedTuple):
    """A result of an operator: the labels that it carries, its shape, and the dimensions along which its values are the
    same, of which there may be any number."""

    labels: Labels
    shape: tuple[int, ...]
    alike: frozenset[int] = frozenset()


class TracedCall(NamedTuple):
    """One call of an operator, for the comparison of two forward passes of one network (`surgery.correspondence`)."""

    operator: Any
    numbers: tuple[Any, ...]
    """Its arguments that are numbers and neither sizes nor places."""
    labelled: bool
    """Whether labels went in and count: not where only a size is read."""
    made: tuple[Made, ...]
    blocks: int
    """How many blocks the trace had noted after it."""
    grouped: int
    """How many grouped convolutions and norms."""


class Extent(NamedTuple):
    """One dimension of a tensor: its size, and the slots of its positions, shape (size, any), or None if fixed.

    `per_group`: the slots are (groups, size) of a grouped convolution, and the size is what one group keeps.
    """

    size: int
    slots: Tensor | None
    per_group: bool = False


class CostedCall(NamedTuple):
    """A call whose multiply-accumulates count: the operator, its arguments with tensors as extents, and the layer."""

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: tuple[Extent, ...]
    layer: str | None


class Activation(NamedTuple):
    """A tensor that an operator put out: its extents, and bytes per element."""

    extents: tuple[Extent, ...]
    itemsize: int


class FreeSize(NamedTuple):
    """One dimension of a tensor of equal values that the model's code makes: its slots, and the line that makes it.

    The slots are those of no parameter: how many there are is up to the code.
    """

    first: int
    size: int
    where: Line | None

    @property
    def slots(self) -> np.ndarray:
        return np.arange(self.first, self.first + self.size)


class Guess(NamedTuple):
    """A tie that holds where the code reads the size of a tensor off another one."""

    left: Tensor
    right: Tensor
    size: int
    """The number of its free size."""


class LayerUse(NamedTuple):
    """A module with weights that ran: its name, what it is, and the slots of its outputs and inputs."""

    name: str
    kind: str
    outputs: Tensor | None
    inputs: Tensor | None
    width: int
    in_width: int
    producer: bool
    depthwise: bool = False
    """Whether it puts each of its input's channels out again."""


@dataclass(repr=False)
class TraceRecord:
    """Everything that the graph is made from. Filled by one `Tracer`, read by all others."""

    model: nn.Module
    """The traced module itself, not a copy: criteria read its weights."""
    axes: list[Axis] = field(default_factory=list)
    size: int = 0
    ties: list[Tie] = field(default_factory=list)
    locks: list[Lock] = field(default_factory=list)
    locked: list[tuple[Tensor, int]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    grouped: list[Grouped] = field(default_factory=list)
    head_rows: list[HeadRows] = field(default_factory=list)
    producers: list[Axis] = field(default_factory=list)
    producing: dict[int, list[str]] = field(default_factory=dict)
    """By the first slot of a producer's axis, the layers whose outputs it is: several where they share a weight."""
    sums: list[tuple[Tensor, str | None]] = field(default_factory=list)
    sites: dict[Line, list[Tensor]] = field(default_factory=dict)
    """By the lines of code that name sizes, the slots of what they name them for."""
    views: list[View] = field(default_factory=list)
    places: dict[str, Line] = field(default_factory=dict)
    """By layer, the line of code that runs it."""
    scalings: list[Scaling] = field(default_factory=list)
    calls: list[TracedCall] = field(default_factory=list)
    """Every call, in order."""
    eval_calls: int = 0
    """How many of them the forward pass in eval mode has made, which comes first."""
    reads_values: bool = False
    """Whether an operator has given values of the forward pass to Python, or results of a size that depends on them."""
    statistics: dict[str, list[Tensor]] = field(default_factory=dict)
    derived: DerivedUses = field(default_factory=DerivedUses)
    costs: list[CostedCall] = field(default_factory=list)
    activations: list[Activation] = field(default_factory=list)
    layers: dict[str, LayerUse] = field(default_factory=dict)
    without_elements: list[Tensor] = field(default_factory=list)
    """The slots that tensors without elements carry."""
    free: list[FreeSize] = field(default_factory=list)
    guesses: list[Guess] = field(default_factory=list)
    bare_norms: dict[str, dict[int, Tensor]] = field(default_factory=dict)
    """Of norms without parameters and statistics, by module: the slots along the dimensions that they normalise."""
    unreached: tuple[str, ...] = ()
    runs_layers: bool = False
    """Whether anything is computed with the network's own parameters or buffers."""
    hollow: bool = False
    """Whether it was made without computing values: then so can a trace of the cut network be."""
    written: set[str] = field(default_factory=set)
    """Parameters that the forward pass itself writes over."""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    itemsizes: dict[str, int] = field(default_factory=dict)
    parameters: frozenset[str] = frozenset()
    shared: dict[str, str] = field(default_factory=dict)
    """Other names of a parameter or buffer that has several, by the name that the axes use."""
    _by_tensor: dict[str, list[Axis]] = field(default_factory=dict, repr=False)
    _counted: int = 0

    @property
    def second_names(self) -> dict[str, str]:
        """Modules that share a parameter with one that the axes name, or are another name of it, by that one."""
        owners = {owner_of(name): owner_of(first) for name, first in self.shared.items()}
        return {name: first for name, first in owners.items() if name != first}

    def names_of(self, tensor: str) -> list[str]:
        """All names of a parameter or buffer: the one that the axes use, then those that share it."""
        return [tensor, *(name for name, first in self.shared.items() if first == tensor)]

    def axes_of(self, tensor: str) -> list[Axis]:
        """The axes of one parameter or buffer; a grouped weight's per-group axis comes after the plain one."""
        if self._counted != len(self.axes):
            self._by_tensor.clear()
            for axis in self.axes:
                self._by_tensor.setdefault(axis.tensor, []).append(axis)
            self._counted = len(self.axes)
        return self._by_tensor.get(tensor, [])


def slot_numbers(parts: Sequence[Tensor]) -> np.ndarray:
    """The slots of several id tensors in one array; negative ids (locks) are left out."""
    if not parts:
        return np.zeros(0, np.int64)
    numbers = np.concatenate([part.reshape(-1).numpy() for part in parts])
    return numbers[numbers >= 0]
