"""A pruned checkpoint as a .safetensors file: to other programs a plain state dict, with all else in its metadata."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import safe_open
from torch import Tensor

from tui_prune.errors import Remedy, TuiPruneError

SUFFIX = ".safetensors"
_KEY = "tui_prune"
_TENSORS = "tensors"
_TENSOR, _TUPLE, _FLOAT, _DICT = _MARKS = ("tensor", "tuple", "float", "dict")
"""What JSON can't say is a dict with one of these keys alone: the number of a tensor, the items of a tuple, the text of
a float that is not finite, the pairs of a dict that would look like one of these."""


def pack(content: Mapping[str, Any]) -> bytes:
    """The content of a checkpoint as the bytes of a .safetensors file.

    The tensors of the network keep their names; one under several names is written once. Raises `TuiPruneError` for a
    kind of numbers that the format doesn't know.
    """
    with _explained():
        return safetensors.torch.save(*_parts(content))


def write_safetensors(content: Mapping[str, Any], path: Path) -> None:
    """Write what `pack` gives, piece by piece: other threads go on meanwhile. Raises `TuiPruneError`, also
    where the disk is full."""
    with _explained():
        tensors, metadata = _parts(content)
        safetensors.torch.save_file(tensors, path, metadata)


def _parts(content: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of the file."""
    first: dict[int, str] = {}
    aliases = {name: first.setdefault(id(tensor), name) for name, tensor in content[_TENSORS].items()}
    extra: dict[int, Tensor] = {}
    rest = _to_plain({key: value for key, value in content.items() if key != _TENSORS}, extra)
    packed = safetensors.torch.save({str(n): tensor.clone() for n, tensor in enumerate(extra.values())})
    said = {
        "content": rest,
        "aliases": {name: other for name, other in aliases.items() if name != other},
        "packed": base64.b64encode(packed).decode(),
    }
    tensors = {name: content[_TENSORS][name].contiguous() for name in first.values()}
    return tensors, {"format": "pt", _KEY: json.dumps(said)}


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (KeyError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise TuiPruneError(f"This network can't be written as safetensors ({error}); save it as .pt.") from error


def is_one(path: Path, start: bytes) -> bool:
    """Whether a file is meant to be one, or begins as one: with the length of a header in JSON, and the header."""
    return path.suffix == SUFFIX or (
        start[8:9] == b"{" and int.from_bytes(start[:8], "little") + 8 <= path.stat().st_size
    )


def read(path: Path) -> dict[str, Any]:
    """As `read_safetensors`. Raises `TuiPruneError` for a file that isn't whole."""
    try:
        return read_safetensors(path)
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise TuiPruneError(
            f"{path} is no whole .safetensors file ({error}). Save, copy or download it again.",
            remedies=[Remedy.AGAIN, Remedy.OTHER],
        ) from error


def read_safetensors(path: Path) -> dict[str, Any]:
    """What the file holds: the content of a pruned checkpoint, whose checksum isn't looked at, or a state dict.

    Raises `TuiPruneError` when our metadata was altered, and what safetensors raises for a file that isn't whole.
    """
    tensors: dict[str, Any] = safetensors.torch.load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    if _KEY not in metadata:
        return tensors
    try:
        said = json.loads(metadata[_KEY])
        extra = safetensors.torch.load(base64.b64decode(said["packed"]))
        tensors |= {name: tensors[first] for name, first in said["aliases"].items()}
        return {**_from_plain(said["content"], extra), _TENSORS: tensors}
    except (KeyError, TypeError, ValueError, AttributeError, safetensors.SafetensorError) as error:
        raise TuiPruneError(
            f"{path} was damaged or altered: its metadata can't be read. Save it again.",
            remedies=[Remedy.AGAIN, Remedy.OTHER],
        ) from error


def read_metadata(path: Path) -> dict[str, Any]:
    """What the file holds of a pruned checkpoint in its header, where no tensor is needed to read it; empty for any
    other file."""
    try:
        with safe_open(path, framework="pt") as file:
            content = json.loads((file.metadata() or {})[_KEY])["content"]
        return {key: value for key, value in content.items() if key in ("format", "report")}
    except (KeyError, TypeError, ValueError, AttributeError, OSError, RuntimeError, safetensors.SafetensorError):
        return {}


def _to_plain(value: Any, tensors: dict[int, Tensor]) -> Any:
    """A value as JSON has it; its tensors are put aside, each once."""
    if isinstance(value, Tensor):
        tensors.setdefault(id(value), value)
        return {_TENSOR: [*tensors].index(id(value))}
    if isinstance(value, dict):
        pairs = {key: _to_plain(one, tensors) for key, one in value.items()}
        return {_DICT: [*pairs.items()]} if len(pairs) == 1 and pairs.keys() <= set(_MARKS) else pairs
    if isinstance(value, (list, tuple)):
        items = [_to_plain(one, tensors) for one in value]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    if isinstance(value, float) and value - value != 0:
        return {_FLOAT: str(value)}
    return value


def _from_plain(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_from_plain(one, tensors) for one in value]
    if not isinstance(value, dict):
        return value
    mark = next(iter(value), None) if len(value) == 1 else None
    if mark == _TENSOR:
        return tensors[str(value[mark])]
    if mark == _TUPLE:
        return tuple(_from_plain(one, tensors) for one in value[mark])
    if mark == _FLOAT:
        return float(value[mark])
    pairs = value[_DICT] if mark == _DICT else value.items()
    return {key: _from_plain(one, tensors) for key, one in pairs}
