"""One check for a small network: what it is cut to, and that it holds on inputs, batches and in files that the cut
never saw."""

import copy
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

import tui_prune
from tests.exactness import (
    TOLERANCE,
    Kept,
    Reference,
    largest_error,
    masked_original,
    prune_exactly,
    randomise_norms,
    trains,
    widths,
)


def zeros_in(*parameters: str) -> Reference:
    """The reference for parameters that the network's own code uses: all that is cut of them is zero."""

    def change(masked: Any, kept: Kept) -> None:
        for name in parameters:
            values = masked.get_parameter(name).data
            for dim in range(values.dim()):
                places = kept.get(f"{name}/{dim}")
                if places is not None:
                    values.copy_(torch.zeros_like(values).index_copy(dim, places, values.index_select(dim, places)))

    return change


def check_cut(
    build: Callable[[], nn.Module],
    inputs: Any,
    after: dict[str, int],
    *,
    others: Sequence[Any] = (),
    reference: Reference | None = None,
    **recipe: Any,
) -> tui_prune.Result:
    """Cut by half (if the recipe doesn't say otherwise) to the widths `after`: equal to the masked original on these
    inputs and on `others`, able to learn, and the same when it is loaded from a file. Layers that aren't named keep
    their width."""
    model = randomise_norms(build()).eval()
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    result = prune_exactly(model, inputs, reference=reference, **recipe)
    assert {name: width for name, (before, width) in widths(result).items() if width != before} == after
    assert result.report.equivalence.kind == "exact"
    masked = masked_original(model, result, reference)
    with torch.no_grad():
        for other in others:
            other = other if isinstance(other, tuple) else (other,)
            cut = copy.deepcopy(result.model).eval()
            assert largest_error(cut(*other), masked(*other)) < TOLERANCE
    trains(result.model, *inputs)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        loaded = tui_prune.load(tui_prune.save(Path(folder) / "cut.pt", result), model=build())
        assert largest_error(loaded.eval()(*inputs), result.model.eval()(*inputs)) == 0
    return result


def reasons(result: tui_prune.Result, layer: str) -> list[str]:
    """Why a layer's channels are locked, each reason with its line of code."""
    return [
        f"{lock['reason']} ({(lock['where'] or '').partition(': ')[2]})"
        for lock in result.report.locks
        if lock["layer"] == layer
    ]
