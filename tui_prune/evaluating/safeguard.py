"""Keeping a network as it is while the user's own code works with it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tui_prune.channels.kept_state import KeptState
from tui_prune.channels.modules import named_tensors
from tui_prune.errors import TuiPruneError


@contextmanager
def safeguarded(model: nn.Module, function: str) -> Iterator[None]:
    """Put the network back into its present state when the block ends, however it ends.

    The state is that of its parameters, buffers, modes, modules, hooks and attributes. A changed mode or buffer, as a
    forward pass in train mode leaves it, is put back without a word. A changed parameter makes what the user's code
    has found out worthless, so it is an error. `function` names that code in the message: "evaluate(model) of task.py".

    It takes the memory of one more copy of the weights.

    Raises `TuiPruneError` naming the first parameter that was changed.
    """
    kept = KeptState(model)
    parameters = [
        (name, tensor, tensor.detach().clone(), tensor.requires_grad)
        for name, tensor in named_tensors(model)
        if isinstance(tensor, nn.Parameter)
    ]
    modes = [(module, module.training) for module in model.modules()]
    hooks = [
        (table, dict(table))
        for module in model.modules()
        for name, table in vars(module).items()
        if "_hooks" in name and isinstance(table, dict)
    ]
    changed: list[str] = []
    try:
        yield
    finally:
        changed += kept.restore()
        for name, tensor, values, requires_grad in parameters:
            if not _same_bits(tensor, values):
                changed.append(name)
                with torch.no_grad():
                    tensor.copy_(values)
            tensor.requires_grad_(requires_grad)
        for module, training in modes:
            module.training = training
        for table, content in hooks:
            table.clear()
            table.update(content)
    named = next((name for name, *_ in parameters if name in changed), None)
    if named is not None:
        raise TuiPruneError(
            f"{function} has changed the network ({named}), so what it found isn't used; the network was put back. "
            "Let it work on a copy: copy.deepcopy(model)."
        )


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape hold the same values; not-a-number equals itself."""
    return torch.equal(one, other) or bool(((one == other) | ((one != one) & (other != other))).all())
