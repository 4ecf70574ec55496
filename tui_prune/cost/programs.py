"""Calls, and passes of whole networks, as the source of a function over plain tensors, which PyTorch alone can run.

A program is a dict of plain values: the source of `def program(t0, t1, …)`, and the tensors that it takes (shape,
number format, memory format). Their values aren't kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from tui_prune.cost.cost import SizedCall
from tui_prune.errors import TuiPruneError
from tui_prune.graph.trace import untouched

Program = dict[str, Any]
PORTABLE = ("aten.", "prims.")
"""Namespaces of operators that each PyTorch has."""
_ATTENTION = "_scaled_dot_product"
"""What attention's kernels are called, each of which only some devices have."""


class Unwritable(TuiPruneError):
    """Something that only this process has."""


def program_of_call(call: SizedCall, dtype: torch.dtype, form: str, weight_form: str) -> Program:
    """The program of a single call. `form` is the memory format of its tensors, `weight_form` that of the last one.

    Raises `Unwritable`.
    """
    tensors: list[list[Any]] = []

    def written(value: Any) -> str:
        if isinstance(value, torch.Size):
            tensors.append([list(value), _name(dtype), form if len(value) == 4 else ""])
            return f"t{len(tensors) - 1}"
        return _written(value, written)

    args = [written(value) for value in call.args] + [f"{name}={written(v)}" for name, v in call.kwargs.items()]
    if weight_form and tensors:
        tensors[-1][2] = weight_form
    names = ", ".join(f"t{number}" for number in range(len(tensors)))
    source = f"def program({names}):\n    return {_operator(call.func)}({', '.join(args)})\n"
    return {"source": source, "tensors": tensors}


def program_of_network(model: nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> Program:
    """The program of a forward pass, operator by operator.

    Raises `Unwritable` for an operator, or a value, that only this process has.
    """
    with untouched(model) as twin, _Recorder() as recorder:
        twin(*inputs, **kwargs)
    return recorder.program()


class _Recorder(TorchDispatchMode):
    """Writes down each operator that runs, and which results it takes."""

    def __init__(self) -> None:
        super().__init__()
        self._names: Any = WeakIdKeyDictionary()
        self._tensors: list[list[Any]] = []
        self._lines: list[tuple[str, str, list[str]]] = []
        """The result's name, the call, and the results that it takes."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        used: list[str] = []

        def written(value: Any) -> str:
            if isinstance(value, Tensor):
                name = self._name_of(value)
                used.append(name.partition("[")[0])
                return name
            return _written(value, written)

        given = [written(value) for value in args] + [f"{key}={written(value)}" for key, value in kwargs.items()]
        out = func(*args, **kwargs)
        result = f"v{len(self._lines)}"
        if isinstance(out, Tensor):
            self._names.setdefault(out, result)
        elif isinstance(out, (list, tuple)):
            for number, one in enumerate(out):
                if isinstance(one, Tensor):
                    self._names.setdefault(one, f"{result}[{number}]")
        operator = _operator(func)
        if func._schema.name.startswith(f"aten::{_ATTENTION}"):
            causal = next((value for value in args[4:] if isinstance(value, bool) and value), False)
            operator, given = "torch.nn.functional.scaled_dot_product_attention", [*given[:3], f"is_causal={causal}"]
            self._lines.append((result, f"({operator}({', '.join(given)}),)", used))
        else:
            self._lines.append((result, f"{operator}({', '.join(given)})", used))
        return out

    def _name_of(self, tensor: Tensor) -> str:
        known = self._names.get(tensor)
        if known is None:
            known = self._names[tensor] = f"t{len(self._tensors)}"
            last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
            form = "channels_last" if last and not tensor.is_contiguous() else ""
            self._tensors.append([list(tensor.shape), _name(tensor.dtype), form])
        return known

    def program(self) -> Program:
        """All of it. Results are let go of as soon as nothing takes them any more, as in the network itself."""
        last: dict[str, int] = {}
        for number, (result, _, used) in enumerate(self._lines):
            last |= dict.fromkeys([result, *used], number)
        lines = [f"def program({', '.join(f't{number}' for number in range(len(self._tensors)))}):"]
        for number, (result, call, _) in enumerate(self._lines):
            lines.append(f"    {result} = {call}")
            gone = [name for name, place in last.items() if place == number and name.startswith("v")]
            if gone and number < len(self._lines) - 1:
                lines.append(f"    del {', '.join(gone)}")
        return {"source": "\n".join([*lines, "    return None", ""]), "tensors": self._tensors}


def _written(value: Any, written: Callable[[Any], str]) -> str:
    """A value of an argument as source."""
    if isinstance(value, (list, tuple)):
        inner = ", ".join(written(one) for one in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(value) == 1 else ''})"
    if value is None or isinstance(value, (bool, int, str)):
        return repr(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f"float('{value}')"
    if isinstance(value, torch.device):
        return "device"
    if isinstance(value, (torch.dtype, torch.layout, torch.memory_format)):
        return str(value)
    raise Unwritable(f"A {type(value).__name__} is given to an operator, which no other process has.")


def _operator(func: Any) -> str:
    name = str(func)
    if not name.startswith(PORTABLE):
        raise Unwritable(f"The operator {name} isn't PyTorch's own.")
    return f"torch.ops.{name}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def check(program: Program) -> None:
    """Raise `Unwritable` where a network's operators depend on values, which a program doesn't have."""
    from tui_prune.cost.on_target import Torch

    run = Torch(None, "cpu").network({"torch": program})
    assert run is not None
    try:
        run()
    except Exception as error:
        raise Unwritable("The network's operators depend on the values that they get.") from error
