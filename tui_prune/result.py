"""What pruning gives back: the cut network, the plan, and a report of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from tui_prune.archives.origin import Edit, Origin
from tui_prune.formatting import shrunk
from tui_prune.graph.graph import Graph
from tui_prune.planning.plan import Pair, Plan
from tui_prune.tasks.evidence import Evidence, evidence


@dataclass(frozen=True)
class Equivalence:
    """How the cut network compares with the masked original."""

    kind: Literal["exact", "structural"]
    """`exact`: equal in numbers; norms over channels count the kept ones alone in the masked original, too.
    `structural`: proved by its trace alone."""
    max_error: float
    """Largest difference over the largest value, on the example input."""
    precision: str = "float32"
    """The number format that they were compared in: networks in half precision as float32 copies, where they can be."""
    operators: tuple[str, ...] = ()
    """The operators over cut channels that can't be computed for the kept ones alone, which leaves `structural`."""


@dataclass(frozen=True)
class Latency:
    """Seconds of one forward pass: on this device, or by a table on another one."""

    before: float
    """The median of several passes."""
    predicted: float
    """Of the cut network, by what single layers take at their widths, and what a cut network took before."""
    after: float | None
    """Of the cut network: the median share of the time that the network before takes, by passes of both in turn. None:
    it is for another device, where nobody has measured it."""
    between: tuple[float, float] | None
    """The least and the most that `after` may be by the noise of the passes, with 95 % certainty."""
    device: str | None = None
    """The other device, in words."""


@dataclass(frozen=True)
class Accuracy:
    """What the task's `evaluate` says of the original, of the cut network, and of that once it is recovered."""

    before: float
    after: float | None
    """None where nothing is cut."""
    recovered: float | None = None
    """None where it wasn't recovered, or not evaluated since."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the 95 % interval and the count are those of the last network, where its examples are known."""
        numbers = {"before": self.before, "after": self.after, "recovered": self.recovered}
        plain: dict[str, Any] = {name: None if value is None else float(value) for name, value in numbers.items()}
        known = list(self.evidence.values())
        return plain | ({"interval": list(known[-1].interval), "count": known[-1].count} if known else {})

    @property
    def evidence(self) -> dict[str, Evidence]:
        """What stands behind each of them, where the task says which examples are right."""
        found = {
            "before": evidence(self.before),
            "after": evidence(self.after, self.before),
            "recovered": evidence(self.recovered, self.before),
        }
        return {name: one for name, one in found.items() if one is not None}


@dataclass(frozen=True)
class TuningPoint:
    """What a fine-tuning loop has reported at one time."""

    done: float
    """Share of the work, 0 to 1."""
    loss: float | None
    accuracy: float | None
    """The loop's own, or what `evaluate` said at that time."""
    best: bool = False
    """Whether the network was then judged better than ever before, also before the loop where the same judge was asked:
    the last such state is the one to be kept."""


@dataclass(frozen=True)
class Stage:
    """A network on its way from the original to the recovered one, and what the task's `evaluate` says of it."""

    name: str
    """"before" and "after" the cut, "reconstructed", "recalibrated", "fine-tuned"."""
    score: float | None
    """None where nobody has asked."""
    kept: bool = True
    """Whether it, or what the next stage makes of it, is no worse than the stage before; what is worse is undone."""


class LayerError(NamedTuple):
    """How far a layer's outputs are from what they were before the cut, on inputs that weren't fitted: the squared
    error over the square of the outputs, or over their variance where a norm comes next."""

    name: str
    cut: float
    """Of the layer as it was cut, reading what the layers before it give once they are refitted."""
    left: float
    """Once it is refitted, too."""


@dataclass(frozen=True)
class Reconstructed:
    """What refitting the layers of a cut network to the original has brought, without labels."""

    inputs: int
    """Of the calibration data: those that were fitted, and a quarter that was held out."""
    before: float
    """Root mean square error of the network's outputs for the inputs held out, over their root mean square."""
    after: float
    layers: tuple[LayerError, ...]
    """In the order that they run in."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "layers": [layer._asdict() for layer in self.layers]}

    @classmethod
    def from_dict(cls, values: Any) -> Reconstructed | None:
        """From what `to_dict` gave; None where it doesn't fit."""
        try:
            layers = tuple(
                LayerError(str(layer["name"]), float(layer["cut"]), float(layer["left"])) for layer in values["layers"]
            )
            return cls(int(values["inputs"]), float(values["before"]), float(values["after"]), layers)
        except (KeyError, TypeError, ValueError):
            return None


@dataclass(frozen=True)
class Report(Mapping[str, Any]):
    """What was done to a network, in the fields of `prune --json`; also a mapping of their plain values."""

    model: str
    recipe: Mapping[str, Any]
    params: Pair
    macs: Pair
    bytes: Pair
    layers: tuple[Mapping[str, Any], ...]
    """Name, kind and output width before and after of each layer with weights of its own."""
    locks: tuple[Mapping[str, Any], ...]
    """Layer, reason and line of code of each lock."""
    equivalence: Equivalence
    seconds: Mapping[str, float]
    """Spent on trace, plan, cut (with its replay) and verify."""
    output: str | None = None
    """The file that it was saved to."""
    found: Mapping[str, Any] | None = None
    """What the recipe left open: the ratio that its targets led to, the alignment that suits the device."""
    targets: tuple[Mapping[str, Any], ...] = ()
    """Each target: the most that it allows, what the network needed, and what it needs now by the plan."""
    latency: Latency | None = None
    """Where the recipe asks for one."""

    sizes_in_doubt: tuple[str, ...] = ()
    """Numbers that modules keep ("block.width"), that another method than `forward` reads, and that may mean several
    sizes after the cut: they stay as they were."""
    accuracy: Accuracy | None = None
    """Where there is a task that was asked."""
    recovered: tuple[str, ...] = ()
    """What was done to the weights after the cut was verified, in this order: "reconstructed", "recalibrated",
    "fine-tuned", and "recalibrated" once more where that was better."""
    reconstruction: Reconstructed | None = None
    """Where the network was reconstructed."""

    def __repr__(self) -> str:
        """One line; `to_dict` gives all of it."""
        return f"Report({self._in_words})"

    @property
    def _in_words(self) -> str:
        exact = self.equivalence.kind == "exact"
        proof = f"exact to {self.equivalence.max_error:.0e}" if exact else self.equivalence.kind
        sums = shrunk("parameters", *self.params), shrunk("MACs", *self.macs)
        return f"{self.model}: {', '.join((*sums, proof, *self.recovered))}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON. What is found, targets, latency, accuracy and recovery are there only where
        there is any."""
        return {
            "model": self.model,
            "recipe": dict(self.recipe),
            "params": self.params._asdict(),
            "macs": self.macs._asdict(),
            "bytes": self.bytes._asdict(),
            "layers": [dict(layer) for layer in self.layers],
            "locks": [dict(lock) for lock in self.locks],
            "equivalence": asdict(self.equivalence) | {"operators": list(self.equivalence.operators)},
            "seconds": {stage: round(seconds, 4) for stage, seconds in self.seconds.items()},
            "output": self.output,
            **({"found": dict(self.found)} if self.found else {}),
            **({"targets": [dict(target) for target in self.targets]} if self.targets else {}),
            **({"latency": asdict(self.latency)} if self.latency else {}),
            **({"sizes_in_doubt": list(self.sizes_in_doubt)} if self.sizes_in_doubt else {}),
            **({"accuracy": self.accuracy.to_dict()} if self.accuracy else {}),
            **({"evidence": self._evidence} if self._evidence else {}),
            **({"recovered": list(self.recovered)} if self.recovered else {}),
            **({"reconstruction": self.reconstruction.to_dict()} if self.reconstruction else {}),
        }

    @property
    def _evidence(self) -> dict[str, Any]:
        found = {} if self.accuracy is None else self.accuracy.evidence
        return {name: {**one._asdict(), "interval": list(one.interval)} for name, one in found.items()}

    def written_to(self, path: str) -> Report:
        """The same with the file that it was saved to."""
        return replace(self, output=path)

    def __getitem__(self, name: str) -> Any:
        return self.to_dict()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())

    def __len__(self) -> int:
        return len(self.to_dict())


@dataclass(frozen=True, eq=False)
class Result:
    """A cut network that was proved equal to the masked original, and all that is needed to save it. Once
    recovered, its structure is what was proved, and its weights are its own."""

    model: nn.Module
    """In the mode of the original, on its device; shares no tensor with it."""
    plan: Plan
    report: Report
    origin: Origin
    edits: tuple[Edit, ...]
    """All size attributes that differ from those of the network that `origin` builds."""
    kept: Mapping[str, Tensor]
    """By axis ("conv1.weight/0"), the positions that stay of the network that `origin` builds."""
    example_inputs: tuple[Any, ...]
    example_kwargs: Mapping[str, Any]
    reference_outputs: tuple[Tensor, ...]
    """What the masked original puts out for the example inputs; or a recovered network itself, since its weights are
    others by intention."""
    positions: Mapping[str, Tensor]
    """As `kept`, of the network that was opened; another one where that was cut before."""
    input_spec: str
    """The example inputs' shape where they are the seeded ones of `opening`, else empty."""
    curve: tuple[TuningPoint, ...] = ()
    """What fine-tuning has reported."""
    notes: tuple[str, ...] = ()
    """What there is to say of its recovery."""
    traceback: str | None = None
    """Of the user's own exception, where the loop that fine-tunes has failed; for a viewer."""

    def __repr__(self) -> str:
        return f"Result({self.report._in_words}, {self.plan.recipe})"


def found_row(plan: Plan) -> dict[str, Any]:
    """What a plan has found that its recipe leaves open."""
    found: dict[str, Any] = {}
    if plan.recipe.targets:
        found["ratio"] = plan.ratio
    if plan.recipe.finds_multiple:
        found["align"] = plan.align
    return found


def layer_rows(plan: Plan) -> tuple[dict[str, Any], ...]:
    """Name, kind and output width before and after of each layer with weights of its own."""
    return tuple(
        {"name": layer.name, "kind": layer.kind, "before": layer.before, "after": layer.after}
        for layer in plan.layers
        if layer.producer
    )


def lock_rows(graph: Graph) -> tuple[dict[str, Any], ...]:
    """Each lock with the layer that it holds."""
    return tuple(lock.to_dict() for lock in graph.locks)
