"""Networks without some of their residual branches, proved equal to the original with zeros in their place."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from tui_prune.archives.origin import Edit
from tui_prune.errors import TuiPruneError
from tui_prune.graph.branches import Branch, Zeroed
from tui_prune.graph.nested import all_tensors_in
from tui_prune.graph.record import TraceRecord
from tui_prune.graph.trace import call, untouched
from tui_prune.loading.edits import apply_edits
from tui_prune.loading.removed import INPUT, REMOVED, ZEROS
from tui_prune.surgery.copying import named_tensors, with_tensors
from tui_prune.surgery.verify import relative_error

_EQUAL = 1e-6
"""Both compute the same from the same numbers."""


class CannotGo(TuiPruneError):
    """A branch can't be left out; the message says why."""


def removals(branches: Sequence[Branch]) -> tuple[Edit, ...]:
    """The edits that leave branches out.

    The last part gives zeros, since that is what is added. So does the first: code between the parts may write into
    what it gets, which mustn't be the stream.
    """
    edits = []
    for branch in branches:
        ends = branch.modules[0][0], branch.modules[-1][0]
        edits += [Edit(name, REMOVED, results, (ZEROS if name in ends else INPUT,)) for name, results in branch.modules]
    return tuple(edits)


def shortened(
    model: nn.Module,
    record: TraceRecord,
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any],
    branches: Sequence[Branch],
) -> nn.Module:
    """A copy of a traced network over the memory of its weights, without these branches.

    Raises `CannotGo` where it isn't equal to the network with zeros in their place.
    """
    short = _without(model, record, branches)
    wanted = _outputs(model, record, inputs, kwargs, Zeroed(branches))
    reason = _difference(short, record, inputs, kwargs, wanted)
    if reason is None:
        return short
    for branch in branches if len(branches) > 1 else ():
        shortened(model, record, inputs, kwargs, [branch])  # raises for the one that is the reason
    raise CannotGo(f"The branch of {branches[0].name} can't go whole: {reason}.")


def _without(model: nn.Module, record: TraceRecord, branches: Sequence[Branch]) -> nn.Module:
    tensors = {name: tensor.detach() for name, tensor in named_tensors(model, record).items()}
    short = with_tensors(model, tensors, record)
    apply_edits(short, removals(branches))
    return short


def _difference(
    short: nn.Module, record: TraceRecord, inputs: Sequence[Any], kwargs: Mapping[str, Any], wanted: Sequence[Tensor]
) -> str | None:
    """Why the shortened network isn't the original with zeros; None where it is."""
    try:
        outputs = _outputs(short, record, inputs, kwargs)
    except (Exception, SystemExit):
        return "the code around it needs more of its parts than their results"
    if [t.shape for t in outputs] != [t.shape for t in wanted]:
        return "the network gives other outputs without it"
    error = max(map(relative_error, outputs, wanted), default=0.0)
    return None if error <= _EQUAL else "what it adds isn't zero when its last part gives zeros"


def _outputs(
    model: nn.Module,
    record: TraceRecord,
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any],
    zeroed: Zeroed | None = None,
) -> list[Tensor]:
    with untouched(model, record.written) as twin:
        if zeroed is None:
            outputs = call(twin, inputs, kwargs)
        else:
            with zeroed:
                outputs = call(twin, inputs, kwargs)
    return [t for t in all_tensors_in(outputs) if t.is_floating_point() or t.is_complex()]
