"""The state dict inside a weights file, wherever a training script has put it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from tui_prune import paths
from tui_prune.archives.archive import read_weights
from tui_prune.archives.bounds import check_sums
from tui_prune.archives.inert_file import ModuleTensors
from tui_prune.errors import TuiPruneError

_USUAL_KEYS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
    "state",
    "params_ema",
    "ema",
    "ema_state_dict",
    "model_ema",
    "state_dict_ema",
)
"""Under which keys training scripts keep the weights; an average of them comes last."""
_DEEPEST = 3
_LISTED = 6
_AVERAGE_COUNT = "n_averaged"


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors by name, on the CPU, without what wrappers have put before the names.

    Reads .pt, .pth, .bin and .safetensors, plain or nested under one of the usual keys; and modules that were pickled
    whole, of which nothing is run.

    Raises `UsageError` when there is no such file; `TuiPruneError` when it can't be read safely or holds no weights.
    """
    return state_dict_in(read_weights(path), path)


def state_dict_in(content: Any, path: str | Path) -> dict[str, Tensor]:
    """The state dict in the content of the file `path`. Raises `TuiPruneError` when there is none, or when a part of
    the file isn't what the archive's own checksum says."""
    check_sums(paths.absolute(path))
    found = _find(content, _DEEPEST)
    if found is None:
        raise TuiPruneError(f"{path} holds no weights: {_what_is_there(content)}.")
    bare = without_wrappers(found)
    return ModuleTensors.of(bare, found.kind) if isinstance(found, ModuleTensors) else bare


def without_wrappers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names that they have in the bare network."""
    names = {name: name.replace("_orig_mod.", "") for name in tensors}
    prefixed = [name for name in names.values() if name != _AVERAGE_COUNT]
    while prefixed and all(name.startswith("module.") for name in prefixed):
        names = {key: name.removeprefix("module.") for key, name in names.items() if name != _AVERAGE_COUNT}
        prefixed = list(names.values())
    return {name: tensors[key] for key, name in names.items()}


def _find(content: Any, depth: int) -> dict[str, Tensor] | None:
    """The tensors under the first usual key that has some, else those of this level, else of the only level below."""
    if not isinstance(content, Mapping) or depth == 0:
        return None
    for key in _USUAL_KEYS:
        if (found := _find(content.get(key), depth - 1)) is not None:
            return found
    if isinstance(content, ModuleTensors):
        return content or None
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if any("." in name or tensor.dim() > 0 for name, tensor in tensors.items()):
        return tensors
    below = [found for value in content.values() if (found := _find(value, depth - 1)) is not None]
    return below[0] if len(below) == 1 else None


def _what_is_there(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"it is a {type(content).__name__}, and not a state dict"
    entries = [f"{key} ({_kind(value)})" for key, value in list(content.items())[:_LISTED]]
    rest = f" and {len(content) - _LISTED} more" if len(content) > _LISTED else ""
    return f"its entries are {', '.join(entries)}{rest}" if entries else "it is an empty dict"


def _kind(value: Any) -> str:
    return "tensor" if isinstance(value, Tensor) else type(value).__name__
