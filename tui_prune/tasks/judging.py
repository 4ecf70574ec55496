"""How good outputs are: beside labels, or beside what the uncut network makes of the same inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from tui_prune.errors import TuiPruneError
from tui_prune.graph.nested import tensors_in
from tui_prune.tasks.evidence import Score

CERTAIN = 0.5
"""The least score of a box that counts."""
OVERLAP = 0.5
"""The least share of two boxes' area that they have in common where they are the same."""
_UNIT = 1e-3
"""How far the length of rows may be from 1 that somebody has normalised."""


class Measure(Enum):
    """What is compared."""

    TOP1 = "top1"
    """The class with the highest score."""
    OUTPUTS = "outputs"
    """All numbers that are put out."""
    BOXES = "boxes"
    """What a detector finds."""


def measure_of(found: Any) -> Measure:
    """What there is to compare in what a network puts out: boxes, a score for each class, or numbers."""
    if _boxes(found) is not None:
        return Measure.BOXES
    scores = logits(found)
    if scores is None or scores.shape[1] < 2:
        return Measure.OUTPUTS
    lengths = scores.float().norm(dim=1)
    embedded = bool(((lengths - 1).abs() < _UNIT).all()) and bool((scores < 0).any())
    return Measure.OUTPUTS if embedded else Measure.TOP1


def logits(found: Any) -> Tensor | None:
    """Class scores (N, classes, …) in what a network puts out; None where there are none."""
    if isinstance(found, Mapping) and "logits" in found:
        found = found["logits"]
    elif isinstance(found, (tuple, list)) and found:
        found = found[0]
    scores = found if isinstance(found, Tensor) else next(tensors_in(found), None)
    if scores is None or not scores.is_floating_point() or scores.dim() != 2:
        return None
    return scores


class Tally(Protocol):
    """Compares outputs, batch by batch."""

    def keep(self, found: Any) -> Any:
        """Of what the uncut network puts out for a batch, what is needed to compare with."""

    def add(self, found: Any, wanted: Any) -> None:
        """Compare another batch's outputs with what is wanted."""

    def score(self) -> float:
        """What has come of it; higher is better."""


class Top1:
    """Examples that get the right class."""

    def __init__(self) -> None:
        self._right: list[Tensor] = []

    def keep(self, found: Any) -> Tensor:
        """The classes, on the CPU."""
        scores = logits(found)
        if scores is None:
            raise TuiPruneError("The network's output is not a score for each class, so there is no top-1.")
        return scores.argmax(1).cpu()

    def add(self, found: Any, wanted: Tensor) -> None:
        """`wanted` are classes (N,)."""
        self._right.append(self.keep(found) == wanted.cpu())

    def score(self) -> Score:
        """With the examples that are right."""
        return Score(torch.cat(self._right))


class Nearness:
    """1 - relative error of all outputs: root mean square difference over root mean square."""

    def __init__(self) -> None:
        self._sums: list[tuple[float, float]] = []

    def keep(self, found: Any) -> list[Tensor]:
        """All outputs, as they are."""
        return [tensor.detach() for tensor in tensors_in(found) if tensor.is_floating_point()]

    def add(self, found: Any, wanted: Any) -> None:
        """Each output counts alike, however large its numbers are."""
        pairs = list(zip(self.keep(found), self.keep(wanted), strict=False))
        if not pairs or any(one.shape != other.shape for one, other in pairs):
            raise TuiPruneError("The outputs have another shape than those that they are compared with.")
        self._sums = self._sums or [(0.0, 0.0)] * len(pairs)
        sums = []
        for (error, size), (one, other) in zip(self._sums, pairs, strict=True):
            one, other = one.double(), other.double().to(one.device)
            sums.append((error + float((one - other).square().sum()), size + float(other.square().sum())))
        self._sums = sums

    def score(self) -> float:
        """1 where all is equal; 0 where nothing better than zeros is put out."""
        errors = [error / size if size else (math.inf if error else 0.0) for error, size in self._sums]
        found = 1 - math.sqrt(sum(errors) / len(errors))
        return found if math.isfinite(found) else -1e9


class Found(NamedTuple):
    """What a detector finds in one picture, as far as it is certain."""

    boxes: Tensor
    labels: Tensor


class Boxes:
    """Boxes that both networks find, over the mean number of those that each finds (F1)."""

    def __init__(self) -> None:
        self._matched = self._wanted = self._found = 0

    def keep(self, found: Any) -> list[Found]:
        """The certain ones, on the CPU."""
        pictures = _boxes(found)
        if pictures is None:
            raise TuiPruneError("The network puts out no boxes to compare.")
        kept = []
        for one in pictures:
            certain = one["scores"] >= CERTAIN
            labels = one.get("labels", torch.zeros_like(one["scores"], dtype=torch.long))
            kept.append(Found(one["boxes"][certain].float().cpu(), labels[certain].cpu()))
        return kept

    def add(self, found: Any, wanted: Sequence[Found]) -> None:
        """`wanted` is what `keep` gave."""
        for one, other in zip(self.keep(found), wanted, strict=True):
            self._found += len(one.boxes)
            self._wanted += len(other.boxes)
            self._matched += _matches(one, other)

    def score(self) -> float:
        """From 0 to 1."""
        if not self._wanted:
            raise TuiPruneError(
                f"The uncut network finds nothing in these pictures that it is certain of (score {CERTAIN:g} or more), "
                "so there is nothing to compare; compare=outputs needs none."
            )
        return 2 * self._matched / (self._wanted + self._found)


def tally(measure: Measure) -> Tally:
    """What compares in this way."""
    if measure is Measure.TOP1:
        return Top1()
    return Boxes() if measure is Measure.BOXES else Nearness()


def _boxes(found: Any) -> list[Mapping[str, Tensor]] | None:
    """A detector's output: for each picture boxes with scores."""
    if not isinstance(found, (list, tuple)) or not found:
        return None
    fits = all(isinstance(one, Mapping) and {"boxes", "scores"} <= one.keys() for one in found)
    return list(found) if fits else None


def _matches(one: Found, other: Found) -> int:
    """Pairs of boxes with the same label that overlap, each box in one pair at most, the closest first."""
    if not len(one.boxes) or not len(other.boxes):
        return 0
    from torchvision.ops import box_iou

    overlap = box_iou(one.boxes, other.boxes)
    overlap[one.labels[:, None] != other.labels[None]] = 0
    count = 0
    while float(overlap.max()) >= OVERLAP:
        row, column = divmod(int(overlap.argmax()), overlap.shape[1])
        overlap[row], overlap[:, column] = 0, 0
        count += 1
    return count
