"""A pruned network as a Python file that needs no tui-prune: a subclass of its architecture with the widths that were
left, and its weights in a file beside it.

Architectures are those that can be named: torchvision's and timm's are imported, the source of a bundled one is copied.
"""

from __future__ import annotations

import inspect
import os
import pprint
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tui_prune.archives.origin import Edit, Origin
from tui_prune.archives.pruned_file import Checkpoint
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.graph.nested import map_tensors
from tui_prune.loading.building import build
from tui_prune.loading.fitting import named_tensors
from tui_prune.loading.removed import is_removal
from tui_prune.loading.sources import bundled, huggingface, timm, torchvision
from tui_prune.progress import Progress
from tui_prune.saving.exporting.shapes import Arguments
from tui_prune.saving.whole_file import check_target, write_whole

NAME, SUFFIX = "py", ".py"
_LONGEST = 600
"""Seconds that the fresh process may take."""


@dataclass(frozen=True)
class PythonFile:
    """What was written."""

    bytes: int
    """Of both files."""
    weights: Path
    outputs: tuple[tuple[Tensor, ...], ...]
    """What a fresh process has put out by it, for each of the arguments."""


@dataclass(frozen=True)
class _Architecture:
    """How a file has its architecture."""

    code: str
    """Imports, or definitions."""
    built: str
    """The expression that builds the uncut network."""
    kind: str
    """The name of its class."""


def weights_of(target: Path) -> Path:
    """The file of the weights beside a Python file."""
    return target.with_name(f"{target.stem}_weights.pt")


def check_files(target: Path, *, force: bool) -> None:
    """Raise `UsageError` where the file's name is no name of a module, `TargetExistsError` or `TuiPruneError` where one
    of the two files can't be written."""
    if not target.stem.isidentifier():
        raise UsageError(f"{target.name} is to be imported, so name it like a module: letters, digits and _.")
    for file in (target, weights_of(target)):
        check_target(file, force=force)


def check_origin(origin: Origin) -> None:
    """Raise `UsageError` for a network whose architecture can't be named."""
    if origin.kind not in ARCHITECTURES:
        advice = (
            "--format transformers writes a folder for from_pretrained"
            if origin.kind == huggingface.KIND
            else "its code is your own file: load it with tui_prune.load, or export it to .onnx or .pt2"
        )
        raise UsageError(f"A Python file can be made of torchvision's, timm's and bundled networks; {advice}.")


def write_python(
    checkpoint: Checkpoint,
    network: nn.Module,
    target: Path,
    compared: tuple[Arguments, ...],
    check: Callable[[tuple[tuple[Tensor, ...], ...]], None],
    *,
    force: bool,
    progress: Progress,
) -> PythonFile:
    """Write the file and its weights. Before that a fresh process, in which there is no tui-prune, runs both: `check`
    is given what it puts out and raises where that is wrong.

    Raises `TuiPruneError` where the file doesn't run. Nothing was written then.
    """
    progress("write", 0.1)
    code = _code(checkpoint, network, target.stem)
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in named_tensors(network)}
    with tempfile.TemporaryDirectory(prefix="tui-prune-") as folder:
        trial = Path(folder) / target.name
        trial.write_text(code, encoding="utf-8")
        torch.save(tensors, weights_of(trial))
        progress("run it in a fresh process", 0.3)
        outputs = _run_afresh(trial, compared)
        check(outputs)
        progress("write", 0.9)
        weights = weights_of(trial).read_bytes()
    write_whole(weights_of(target), lambda file: file.write(weights), lambda part: None, force=force)
    write_whole(target, lambda file: file.write(code.encode()), lambda part: None, force=force)
    return PythonFile(len(weights) + len(code.encode()), weights_of(target), outputs)


# The code

_HEAD = '''"""{title} with the widths that tui-prune has left: {parameters:,} parameters.

    from {module} import load
    model = load()

It needs {packages}, and {weights} beside it.
"""
'''

_TAIL = '''

{tables}

class Pruned{kind}({kind}):
    """{kind} with the widths above."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(vars({built}))
{removals}        for name, attribute, path, value in SIZES:
            part = self.get_submodule(name)
            setattr(part, attribute, _changed(getattr(part, attribute), path, value))
        made = {{}}
        for name, shape in SHAPES.items():
            owner, _, leaf = name.rpartition(".")
            part = self.get_submodule(owner)
            old = getattr(part, leaf)
            if id(old) not in made:  # what was one tensor under several names stays one
                new = torch.zeros(shape, dtype=old.dtype)
                made[id(old)] = old, nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
            setattr(part, leaf, made[id(old)][1])


def load(weights=Path(__file__).with_name("{weights}"), device="cpu"):
    """The network with its weights, in eval mode, ready to be trained or to serve."""
    model = Pruned{kind}().to(device)
    state = torch.load(weights, map_location=device, weights_only=True)
    own = dict(model.named_parameters(remove_duplicate=False))
    own.update(model.named_buffers(remove_duplicate=False))
    if own.keys() != state.keys():
        raise ValueError(f"these are other weights: {{sorted(own.keys() ^ state.keys())[:3]}}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])
    return model.eval()


def _changed(value, path, new):
    """A value with another number at a place in it."""
    if not path:
        return tuple(new) if isinstance(value, tuple) else new
    step, *rest = path
    if isinstance(value, tuple):
        parts = list(value)
        parts[step] = _changed(parts[step], rest, new)
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, (list, dict)):
        value = value.copy()
        value[step] = _changed(value[step], rest, new)
        return value
    value = copy.copy(value)
    setattr(value, step, _changed(getattr(value, step), rest, new))
    return value
'''

_REMOVED = '''

class Removed(nn.Module):
    """In the place of a module that takes or gives several values, of a residual branch that has gone."""

    def __init__(self, zeros, results):
        super().__init__()
        self.zeros, self.results = zeros, results

    def forward(self, x, *others, **keywords):
        first = torch.zeros_like(x) if self.zeros else x
        return first if self.results == 1 else (first, *([None] * (self.results - 1)))
'''

_REMOVE = """        for name, zeros, results in REMOVED:
            owner, _, leaf = name.rpartition(".")
            alone = nn.Threshold(float("inf"), 0.0) if zeros else nn.Identity()
            self.get_submodule(owner)._modules[leaf] = Removed(zeros, results) if results else alone
"""


def _code(checkpoint: Checkpoint, network: nn.Module, module: str) -> str:
    architecture = ARCHITECTURES[checkpoint.origin.kind](checkpoint.origin, type(network))
    whole = {name: tuple(tensor.shape) for name, tensor in named_tensors(build(checkpoint.origin, "meta"))}
    shapes = {
        name: tuple(tensor.shape) for name, tensor in named_tensors(network) if whole.get(name) != tuple(tensor.shape)
    }
    sizes = [_plain(edit) for edit in checkpoint.edits if not is_removal(edit)]
    removed = [(edit.module, edit.path[0] == "zeros", edit.value) for edit in checkpoint.edits if is_removal(edit)]
    tables = [f"SIZES = {_literal(sizes)}", f"SHAPES = {_literal(shapes)}"]
    packages = [name for name in ("torchvision", "timm") if name in architecture.code]
    fields = {
        "title": checkpoint.origin.title,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "module": module,
        "packages": " and ".join(["torch", *packages]),
        "weights": f"{module}_weights.pt",
        "kind": architecture.kind,
        "built": architecture.built,
        "removals": _REMOVE if removed else "",
        "tables": "\n".join([*tables, f"REMOVED = {_literal(removed)}"] if removed else tables),
    }
    imports = "\nimport copy\nfrom pathlib import Path\n\nimport torch\nfrom torch import nn\n"
    own = _REMOVED if removed else ""
    return f"{_HEAD.format(**fields)}{imports}{architecture.code}{own}{_TAIL.format(**fields)}"


def _of_torchvision(origin: Origin, kind: type) -> _Architecture:
    builder = import_module("torchvision.models").get_model_builder(origin.name)
    accepted = inspect.signature(builder).parameters
    arguments: dict[str, Any] = {key: None for key in ("weights", "weights_backbone") if key in accepted}
    built = _call("get_model", origin.name, {**arguments, **origin.arguments})
    code = f"{_imported(kind)}from torchvision.models import get_model\n"
    return _Architecture(code, built, kind.__name__)


def _of_timm(origin: Origin, kind: type) -> _Architecture:
    built = _call("create_model", origin.name, {"pretrained": False, **origin.arguments})
    return _Architecture(f"{_imported(kind)}from timm import create_model\n", built, kind.__name__)


def _of_tui_prune(origin: Origin, kind: type) -> _Architecture:
    import tui_prune.models as models

    entry = models.NETWORKS[origin.name]
    source = inspect.getsource(import_module(kind.__module__))
    arguments = ", ".join(f"{key}={value!r}" for key, value in origin.arguments.items())
    return _Architecture(
        f"\n# The uncut architecture.\n\n{source.strip()}\n", f"{entry.factory}({arguments})", kind.__name__
    )


ARCHITECTURES: dict[str, Callable[[Origin, type], _Architecture]] = {
    torchvision.KIND: _of_torchvision,
    timm.KIND: _of_timm,
    bundled.KIND: _of_tui_prune,
}
"""By the kind of an origin."""


def _imported(kind: type) -> str:
    return f"from {kind.__module__} import {kind.__name__}\n"


def _call(function: str, name: str, arguments: Mapping[str, Any]) -> str:
    given = [repr(name), *(f"{key}={value!r}" for key, value in arguments.items())]
    return f"{function}({', '.join(given)})"


def _plain(edit: Edit) -> tuple[str, str, tuple[str | int, ...], Any]:
    return edit.module, edit.attribute, tuple(edit.path), edit.value


def _literal(value: Any) -> str:
    return pprint.pformat(value, width=118, compact=True, sort_dicts=False)


# A fresh process

_FRESH = """
import json, sys, torch
sys.modules["tui_prune"] = None  # importing it fails
sys.path.insert(0, sys.argv[1])
model = __import__(sys.argv[2]).load()
outputs = []
for args, kwargs in torch.load(sys.argv[3], weights_only=True):
    with torch.no_grad():
        found = model(*args, **kwargs)
    outputs.append([leaf for leaf in torch.utils._pytree.tree_leaves(found) if isinstance(leaf, torch.Tensor)])
torch.save(outputs, sys.argv[4])
"""


def _run_afresh(trial: Path, compared: tuple[Arguments, ...]) -> tuple[tuple[Tensor, ...], ...]:
    """What the file's network puts out in a process of its own. Raises `TuiPruneError` where it doesn't run."""
    given, found = trial.with_name("given.pt"), trial.with_name("found.pt")
    torch.save([map_tensors(one, Tensor.clone) for one in compared], given)
    command = [sys.executable, "-c", _FRESH, str(trial.parent), trial.stem, str(given), str(found)]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    threads = str(torch.get_num_threads())
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": threads},
            cwd=trial.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TuiPruneError(
            f"The network takes more than {_LONGEST} s in a fresh process. Nothing was written."
        ) from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it says nothing"])[-1].rstrip(".")
        raise TuiPruneError(f"The file doesn't run in a fresh process ({said}). Nothing was written.")
    return tuple(tuple(outputs) for outputs in torch.load(found, weights_only=True))
