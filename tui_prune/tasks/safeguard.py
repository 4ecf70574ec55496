"""Keeping a network as it is while the user's own code works with it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tui_prune.copies.modules import named_tensors
from tui_prune.errors import TuiPruneError
from tui_prune.graph.trace import standing_in


@contextmanager
def safeguarded(model: nn.Module, function: str) -> Iterator[nn.Module]:
    """Give the user's code a copy of the network over the same weights, and keep the network as it is.

    What that code does to torch's own settings and to modes, buffers, modules, hooks and attributes ends with the copy,
    without a word. A changed parameter is put back, but makes what the code has found out worthless, so it is an error.
    `function` names that code in the message: "evaluate(model) of task.py".

    It takes the memory of one more copy of the weights.

    Raises `TuiPruneError` naming the first parameter that was changed.
    """
    with standing_in(model) as twin:
        given = dict(named_tensors(twin))
        parameters = [
            (name, tensor, given[name], tensor.detach().clone())
            for name, tensor in named_tensors(model)
            if isinstance(tensor, nn.Parameter)
        ]
        dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
        try:
            yield twin
        finally:
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(grad)
            changed = [name for name, _, shown, values in parameters if not _same_bits(shown, values)]
            with torch.no_grad():
                for _, tensor, _, values in parameters:
                    if not _same_bits(tensor, values):
                        tensor.copy_(values)
    if changed:
        raise TuiPruneError(
            f"{function} has changed the network ({changed[0]}), so what it found isn't used; the network was put "
            "back. Let it work on a copy: copy.deepcopy(model)."
        )


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same values in one shape; not-a-number equals itself."""
    if one.shape != other.shape:
        return False
    return torch.equal(one, other) or bool(((one == other) | ((one != one) & (other != other))).all())
