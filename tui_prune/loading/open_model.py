"""Opening whatever the user names: a network, a factory in a file, a weights file, a pruned checkpoint."""

import dataclasses
import difflib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tui_prune import paths
from tui_prune.archives.archive import read_weights, state_dict_in
from tui_prune.archives.inert_file import ModuleTensors
from tui_prune.archives.origin import FILE, Origin
from tui_prune.archives.pruned_file import Checkpoint, is_pruned_checkpoint, read_checkpoint
from tui_prune.errors import Remedy, TuiPruneError, UsageError
from tui_prune.formatting import shown
from tui_prune.loading.building import build, default_input_spec, likely_input_specs
from tui_prune.loading.fitting import device_of, fit, load_weights, replace_tensors
from tui_prune.loading.guess_input import guess_input
from tui_prune.loading.input_spec import make_example_inputs, parse_input_spec
from tui_prune.loading.load_pruned import load_pruned
from tui_prune.loading.opened import OpenedModel
from tui_prune.loading.origins import origin_of
from tui_prune.loading.plain_module import plain_module
from tui_prune.loading.recognise import recognise, sized_for
from tui_prune.loading.sources.bundled import DEFAULT, trained_weights
from tui_prune.loading.sources.bundled import KIND as BUNDLED
from tui_prune.loading.sources.factory_file import is_factory_spec, load_factory, split_factory_spec
from tui_prune.loading.sources.registry import SOURCES, Opening, source_by_name, source_by_prefix
from tui_prune.progress import Progress, silent

__all__ = ["build", "load_factory", "open_model", "with_input"]

RANDOM_WEIGHTS = "The weights are random; --weights FILE opens trained ones."
_FILE_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors", ".ckpt", ".tar")


def open_model(
    spec: str | None = None,
    *,
    weights: str | Path | None = None,
    input_spec: str | None = None,
    device: str = "cpu",
    model: nn.Module | None = None,
    progress: Progress = silent,
) -> OpenedModel:
    """Open what the user names, with an input to run it on. Nothing is ever downloaded.

    `spec` is a torchvision name, "timm:" and a name of timm's, "hf:" and a folder or name of transformers', a bundled
    name, "file.py:factory", or a file: a pruned checkpoint, or weights of a torchvision or bundled network, which is
    recognised by them. Without `spec` it is the bundled network with its trained weights. `weights` is a file for a
    network that is named. `input_spec` is the shape of an example input ("1,3,224,224"); a network of the user's own
    file is tried on likely ones without it.

    `model` is a network that the caller has made. Alone it is opened as it is, where it is, in the mode that it is in;
    with a file as `spec`, the file is loaded into it.

    Raises `UsageError` when `spec`, `input_spec` or `device` name nothing; `TuiPruneError` when a file is broken, when
    weights don't fit, when the user's own code fails, or when the network is of a kind that can't be pruned.
    """
    if input_spec is not None:
        parse_input_spec(input_spec)
    target = _checked_device(device)
    progress("open", 0.0)
    if model is not None and spec is None and weights is None:
        opened = _from_module(model, origin_of(plain_module(model)), None)
        target = device_of(opened.module)
    else:
        opened = _open(spec, weights, model, progress)
        opened = dataclasses.replace(opened, module=_moved(opened.module.eval(), target))
    if not (input_spec or opened.input_spec or opened.example_inputs or opened.example_kwargs):
        opened = _guessed(opened, target, progress)
    opened = _with_inputs(opened, input_spec, target)
    progress("open", 1.0)
    return opened


def _open(spec: str | None, weights: str | Path | None, model: nn.Module | None, progress: Progress) -> OpenedModel:
    if model is not None:
        if spec is not None and weights is not None:
            raise UsageError("Pass one file to load into the model: either spec or weights.")
        return _from_module(model, origin_of(plain_module(model)), _existing_file(str(spec or weights)))
    if spec is None:
        return _from_name(Origin(BUNDLED, DEFAULT), weights)
    if is_factory_spec(spec):
        file, factory = split_factory_spec(spec)
        return _from_module(load_factory(spec)(), Origin(FILE, f"{file}:{factory}"), weights)
    named = source_by_prefix(spec) or (None if _is_path(spec) else source_by_name(spec))
    if named is not None:
        source, name = named
        if source.open is not None:
            return _with_its_weights(source.open, name, weights)
        return _from_name(Origin(source.kind, name), weights)
    file = _existing_file(spec)
    if weights is not None:
        raise UsageError(f"{spec} has weights of its own; leave out --weights, or name a network instead of {spec}.")
    return _from_file(file, progress)


def _from_name(origin: Origin, weights: str | Path | None) -> OpenedModel:
    file = trained_weights(origin.name) if weights is None and origin.kind == BUNDLED else weights
    if file is None:
        return _opened(origin, build(origin), None, notes=(RANDOM_WEIGHTS,))
    content = _read(file)
    if isinstance(content, Checkpoint):
        if (content.origin.kind, content.origin.name) != (origin.kind, origin.name):
            raise TuiPruneError(f"{file} holds a pruned {content.origin.title}, not a {origin.title}; open it alone.")
        return _from_checkpoint(content, None)
    return _from_state(sized_for(origin, content), content, file)


def _with_its_weights(opening: Opening, name: str, weights: str | Path | None) -> OpenedModel:
    module, origin, notes = opening(name)
    if weights is not None:
        opened = _from_module(module, origin, weights)
        return dataclasses.replace(opened, origin=origin)
    return _opened(origin, module, name, notes)


def _from_module(model: nn.Module, origin: Origin, weights: str | Path | None) -> OpenedModel:
    module = plain_module(model)
    if weights is None:
        return _opened(origin, module, None)
    content = _read(weights)
    if isinstance(content, Checkpoint):
        return _from_checkpoint(content, module)
    load_weights(module, content, source=str(weights), network=origin.title)
    return _opened(origin, module, weights, _whole_notes(content, weights))


def _from_file(file: Path, progress: Progress) -> OpenedModel:
    content = _read(file)
    if isinstance(content, Checkpoint):
        return _from_checkpoint(content, None)
    recognised = recognise(content, source=str(file), progress=progress)
    opened = _from_state(recognised.origin, content, file)
    return dataclasses.replace(opened, recognised=recognised, notes=(str(recognised), *opened.notes))


def _from_state(origin: Origin, state: dict[str, Tensor], file: str | Path) -> OpenedModel:
    """The named network with these weights, in the precision that the network is built in."""
    module = build(origin, "meta")
    fitted = fit(module, state, source=str(file), network=origin.title)
    precision = {name: tensor.dtype for name, tensor in module.state_dict().items()}
    replace_tensors(module, {name: tensor.to(precision[name], copy=True) for name, tensor in fitted.items()})
    return _opened(origin, module, file, _whole_notes(state, file))


def _whole_notes(state: dict[str, Tensor], file: str | Path) -> tuple[str, ...]:
    """What there is to say of a file with a whole module in it."""
    if not isinstance(state, ModuleTensors):
        return ()
    kind = f" ({state.kind})" if state.kind else ""
    return (f"{Path(file).name} holds a whole module{kind}; only its tensors were read, and nothing in it was run.",)


def _from_checkpoint(checkpoint: Checkpoint, model: nn.Module | None) -> OpenedModel:
    module = load_pruned(checkpoint, model)
    probe = None if checkpoint.input_spec else checkpoint.probe
    remembered = None if probe is None else probe.inputs
    return dataclasses.replace(
        _opened(checkpoint.origin, module, checkpoint.path),
        example_inputs=remembered or (),
        example_kwargs={} if probe is None else probe.keywords,
        input_spec=checkpoint.input_spec or ("" if remembered is not None else default_input_spec(checkpoint.origin)),
        edits=checkpoint.edits,
        kept=checkpoint.kept,
    )


def _opened(origin: Origin, module: nn.Module, weights: str | Path | None, notes: tuple[str, ...] = ()) -> OpenedModel:
    return OpenedModel(
        title=origin.title,
        origin=origin,
        module=module,
        example_inputs=(),
        example_kwargs={},
        input_spec=default_input_spec(origin),
        weights=None if weights is None else Path(weights).name,
        notes=notes,
    )


def _read(file: str | Path) -> Checkpoint | dict[str, Tensor]:
    content = read_weights(file)
    return read_checkpoint(file) if is_pruned_checkpoint(content) else state_dict_in(content, file)


def _guessed(opened: OpenedModel, device: torch.device, progress: Progress) -> OpenedModel:
    """With an input that the network was seen to run on; where none was found, the trace will say what is wrong."""
    guess = guess_input(
        opened.module,
        device,
        _number_format(opened.module),
        progress,
        first=likely_input_specs(opened.origin),
    )
    notes = (*opened.notes, str(guess)) if guess.runs else opened.notes
    return dataclasses.replace(opened, input_spec=guess.spec, guess=guess, notes=notes)


def with_input(opened: OpenedModel, input_spec: str) -> OpenedModel:
    """The same network, to be run on an input of another shape. Raises `UsageError` when it can't be read."""
    device = device_of(opened.module)
    notes = tuple(note for note in opened.notes if opened.guess is None or note != str(opened.guess))
    return _with_inputs(dataclasses.replace(opened, guess=None, notes=notes), input_spec, device)


def _with_inputs(opened: OpenedModel, input_spec: str | None, device: torch.device) -> OpenedModel:
    if not (input_spec or opened.input_spec):
        inputs, keywords = _on_device((opened.example_inputs, dict(opened.example_kwargs)), device)
        return dataclasses.replace(opened, example_inputs=inputs, example_kwargs=keywords)
    spec = input_spec or opened.input_spec
    inputs, keywords = make_example_inputs(spec, device, _number_format(opened.module))
    return dataclasses.replace(opened, input_spec=spec, example_inputs=inputs, example_kwargs=keywords)


def _number_format(module: nn.Module) -> torch.dtype:
    """The one that all parameters have, where they are alike."""
    formats = {parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()}
    return formats.pop() if len(formats) == 1 else torch.float32


def _on_device(value: Any, device: torch.device) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_on_device(item, device) for item in value)
    if isinstance(value, dict):
        return {key: _on_device(item, device) for key, item in value.items()}
    return value.to(device) if isinstance(value, Tensor) else value


def _checked_device(device: str) -> torch.device:
    """The device, if it can hold a number and give it back: the device "meta" can't. Raises `UsageError`."""
    try:
        target = torch.device(device)
    except RuntimeError:
        raise UsageError(f"There is no device {shown(device)}; use cpu or cuda.") from None
    if target.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("PyTorch finds no CUDA device on this machine; use --device cpu.")
    try:
        torch.ones(1, device=target).item()
    except Exception:  # each backend has errors of its own
        raise UsageError(f"Nothing can be computed on the device {shown(device)}; use cpu or cuda.") from None
    return target


def _moved(module: nn.Module, device: torch.device) -> nn.Module:
    try:
        return module.to(device)
    except RuntimeError as error:
        raise TuiPruneError(f"The network can't be moved to {device}: {error}.") from error


def _existing_file(spec: str) -> Path:
    path = paths.absolute(spec)
    if paths.exists(path):
        return path
    if _is_path(spec):
        beside: list[str] = []
        with suppress(OSError, ValueError):
            beside = os.listdir(path.parent)
        raise UsageError(f"{paths.not_a_file(path, spec)}{_suggestion(path.name, beside)}", remedies=[Remedy.OTHER])
    known = _suggestion(
        spec.lower(), [name for source in SOURCES.values() if not source.prefix for name in source.names()]
    )
    raise UsageError(
        f"{spec!r} is neither a network of torchvision or tui-prune nor a file.{known}",
        remedies=[Remedy.OTHER] if known else [],
    )


def _is_path(spec: str) -> bool:
    """Whether `spec` can only mean a file."""
    return Path(spec).name != spec or spec.endswith(_FILE_SUFFIXES)


def _suggestion(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=3)
    return f" Did you mean {' or '.join(close)}?" if close else ""
