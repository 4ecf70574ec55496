"""The pruned checkpoint: saving it, loading it, and checking it again."""

import json
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

import tui_prune
from tui_prune.archives.forms import FORMS, form_of
from tui_prune.archives.origin import Origin
from tui_prune.archives.pruned_file import Checkpoint, read_checkpoint
from tui_prune.errors import Cancelled, TuiPruneError
from tui_prune.loading.edits import check_edits
from tui_prune.loading.fitting import named_tensors
from tui_prune.loading.kept import axis_name
from tui_prune.loading.load_pruned import load_pruned
from tui_prune.loading.sources.registry import source_of
from tui_prune.loading.sources.torchvision import torchvision_version
from tui_prune.progress import Progress, silent
from tui_prune.saving.forms import check_form
from tui_prune.saving.probe import take_probe
from tui_prune.saving.verify import VerifyReport, verify_checkpoint
from tui_prune.saving.whole_file import TargetExistsError, WatchedFile, check_space, check_target, write_whole

if TYPE_CHECKING:
    from tui_prune.result import Result

__all__ = [
    "Checkpoint",
    "TargetExistsError",
    "VerifyReport",
    "load",
    "read_checkpoint",
    "save",
    "verify_checkpoint",
]

_PIECE = 2**22
"""Bytes that are written at one time, so that it shows how far it is and can be stopped."""


def load(path: str | Path, model: nn.Module | None = None) -> nn.Module:
    """The network in a pruned checkpoint: in eval mode, on the CPU, ready to be trained or to serve.

    Nothing in the file is run. torchvision's, timm's and bundled networks are built by their names; for a network of
    your own pass a fresh one, `load(path, model=Net())`, which is cut in place and returned.

    Raises `UsageError` when there is no such file, or when `model` is needed and missing; `TuiPruneError` when the
    file is damaged, was altered, or doesn't fit `model`.
    """
    return load_pruned(read_checkpoint(path), model)


def save(path: str | Path, result: "Result", *, force: bool = False, progress: Progress = silent) -> Path:
    """Write what `prune` returned into one file that `load` and `torch.load(weights_only=True)` read; or, where its
    name ends in .safetensors, `load` and `safetensors.torch.load_file`, to which it is the plain state dict.

    It is written beside the target, read again and checked, and then renamed, so that no broken file is ever left.
    `progress` may raise to stop it.

    Raises `UsageError` for the name of an export (.onnx, .pt2); `TargetExistsError` when there is a file and `force`
    isn't set; `TuiPruneError` when it can't be written, or when what was written turned out wrong; nothing has changed
    then.
    """
    target = Path(path)
    progress("save", 0.0)
    check_form(target)
    check_target(target, force=force)
    content = compose(target, result).to_content()
    size = octets_of(content["tensors"].values()) or 1
    check_space(target, size)
    done = 0

    def write(file: WatchedFile) -> None:
        codec = FORMS[form_of(target)].codec
        if codec is not None:
            packed = memoryview(codec.pack(content))
            for place in range(0, len(packed), _PIECE):
                file.write(packed[place : place + _PIECE])
        else:
            torch.save(content, cast(IO[bytes], file))

    def written(piece: int) -> None:
        nonlocal done
        done += piece
        progress("save", 0.2 + 0.5 * min(1.0, done / size))

    def check(part: Path) -> None:
        progress("check", 0.7)
        _check_written(part, target, buildable=result.origin.buildable)
        progress("check", 0.9)

    write_whole(target, write, check, force=force, written=written)
    with suppress(Cancelled):  # too late: it is written
        progress("save", 1.0)
    return target


def octets_of(tensors: Iterable[Tensor]) -> int:
    """Of all tensors, each once."""
    return sum(tensor.nbytes for tensor in {id(tensor): tensor for tensor in tensors}.values())


def compose(path: Path, result: "Result", made_from: Mapping[str, str] | None = None) -> Checkpoint:
    """What `save` writes of a result. Tensors on the CPU are shared with its network.

    Raises `TuiPruneError` where there is something that a checkpoint can't hold.
    """
    check_edits(result.model, result.edits)
    tensors, kept = tensors_and_positions(result)
    return Checkpoint(
        path=path,
        origin=result.origin,
        tensors=tensors,
        edits=tuple(result.edits),
        kept=kept,
        recipe=_plain(result.plan.recipe.to_dict()),
        report=_plain(result.report.to_dict()),
        versions={
            "tui_prune": tui_prune.__version__,
            "torch": str(torch.__version__),
            "torchvision": torchvision_version(),
            **_source_version(result.origin),
            "python": platform.python_version(),
        },
        input_spec=result.input_spec or "",
        probe=take_probe(
            result.model,
            tuple(result.example_inputs),
            result.example_kwargs,
            result.input_spec or "",
            list(result.reference_outputs or ()),
            exact=result.report.equivalence.kind == "exact" and not result.report.recovered,
        ),
        made_from=made_from or {},
    )


def tensors_and_positions(result: "Result") -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors that a checkpoint of a result holds, and the positions that they were kept of, by all their names."""
    kept = _by_all_names(result.model, result.kept)
    return _tensors_to_save(result.model, kept), _small_positions(kept)


def _by_all_names(model: nn.Module, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The positions for every name of a tensor that has several; those of the first that has some count."""
    names: dict[Tensor, list[str]] = {}
    for name, tensor in named_tensors(model):
        names.setdefault(tensor, []).append(name)
    complete = dict(kept)
    for tensor, aliases in names.items():
        for dim in range(tensor.dim()):
            axes = [axis_name(alias, dim) for alias in aliases]
            positions = next((kept[axis] for axis in axes if axis in kept), None)
            if positions is not None:
                complete.update(dict.fromkeys(axes, positions))
    return complete


def _tensors_to_save(model: nn.Module, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters and buffers; those that the network computes itself only if they were cut."""
    stored = model.state_dict()
    tensors: dict[str, Tensor] = {}
    copies: dict[Tensor, Tensor] = {}
    for name, tensor in named_tensors(model):
        was_cut = any(axis_name(name, dim) in kept for dim in range(tensor.dim()))
        if name in stored or was_cut:
            if tensor not in copies:
                copies[tensor] = _own_storage(tensor)
            tensors[name] = copies[tensor]
    return tensors


def _own_storage(tensor: Tensor) -> Tensor:
    """The values on the CPU; a part of a larger tensor is copied, because the whole would be written for it."""
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise TuiPruneError("A network with sparse or quantised tensors can't be saved.")
    values = tensor.detach().cpu()
    is_part = values.untyped_storage().nbytes() != values.numel() * values.element_size()
    return values.clone() if is_part or values.is_conj() or values.is_neg() else values


def _small_positions(kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The positions as 32-bit numbers; axes that kept the same ones share one tensor, and so its place in the file."""
    shared: dict[tuple[tuple[int, ...], bytes], Tensor] = {}
    small: dict[str, Tensor] = {}
    for axis, positions in kept.items():
        values = positions.detach().cpu().to(torch.int32).contiguous()
        key = (tuple(values.shape), values.numpy().tobytes())
        small[axis] = shared.setdefault(key, values)
    return small


def _source_version(origin: Origin) -> dict[str, str]:
    """The version of the package that a network is from, under the name of its kind."""
    version = source_of(origin).version if origin.buildable else None
    return {} if version is None else {origin.kind: version()}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(dict(values)))
    except (TypeError, ValueError) as error:
        raise TuiPruneError(f"The recipe or the report can't be saved: {error}.") from error


def _check_written(part: Path, target: Path, *, buildable: bool) -> None:
    """Raises `TuiPruneError` when a stranger couldn't use the file; a network of the user's can't be built here."""
    if not buildable:
        read_checkpoint(part)
        return
    failed = [check.detail for check in verify_checkpoint(part).checks if not check.ok]
    if failed:
        raise TuiPruneError(
            f"{target} was not written, because the file came out wrong: {failed[0].replace(str(part), 'it')}"
        )
