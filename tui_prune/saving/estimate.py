"""How large a checkpoint will be, before anything is cut."""

import json
from collections.abc import Iterable

import numpy as np
from torch import Tensor

from tui_prune.archives.safetensors_form import SUFFIX
from tui_prune.graph.nested import tensors_in
from tui_prune.loading.fitting import named_tensors
from tui_prune.loading.opened import OpenedModel
from tui_prune.planning.plan import Plan
from tui_prune.result import layer_rows, lock_rows
from tui_prune.saving.probe import LARGEST_INPUT
from tui_prune.surgery.cut import sketch

_RECORD = 240
"""Bytes of the archive around each tensor that torch.save writes: two headers, and blanks up to a multiple of 64."""
_ENTRY = 90
"""Bytes that name a tensor, its shape and its place."""
_OUTPUT = 4_000
"""Bytes of what the network puts out for its example, which isn't known before it has run; there is little of it."""


def expected_size(opened: OpenedModel, plan: Plan, suffix: str) -> int:
    """Bytes of the file that a plan leads to, to a few per cent. Runs nothing of the network.

    Whatever goes wrong while the network's modules are copied passes through.
    """
    cut = sketch(plan) if plan.cuts else opened.module
    stored = cut.state_dict().keys()
    tensors = {id(tensor): tensor for name, tensor in named_tensors(cut) if name in stored}.values()
    names = sum(len(name) + _ENTRY for name in stored)
    inputs = sum(tensor.nbytes for tensor in tensors_in((opened.example_inputs, dict(opened.example_kwargs))))
    words = len(json.dumps([plan.recipe.to_dict(), layer_rows(plan), lock_rows(plan.graph)]))
    positions = _positions(opened, plan)
    beside = (inputs if inputs <= LARGEST_INPUT else 0) + _OUTPUT + 4 * sum(positions)
    if suffix.casefold() == SUFFIX:
        return _octets(tensors) + names + 4 * (beside + _ENTRY * len(positions)) // 3 + 2 * words
    return _octets(tensors) + names + _RECORD * (len(tensors) + len(positions)) + beside + words


def _octets(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _positions(opened: OpenedModel, plan: Plan) -> list[int]:
    """How many positions each axis keeps that has been cut; axes that keep the same ones count once."""
    channel = plan.graph.classes.channel
    found = {
        stays.tobytes(): len(stays)
        for axis in plan.graph.record.axes
        if not (mask := plan.keep[channel[axis.slots]]).all()
        for stays in (np.flatnonzero(mask),)
    }
    return [*found.values(), *(positions.numel() for positions in opened.kept.values())]
