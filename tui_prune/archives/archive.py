"""Reading a file of tensors without running anything that is in it.

The state dict in it is found wherever a training script has put it.
"""

import argparse
import pickle
import re
import zipfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tui_prune import paths
from tui_prune.archives.bounds import check_content, check_members, check_room, check_sums, members_of
from tui_prune.archives.forms import codec_of
from tui_prune.archives.inert_file import ModuleTensors, holds_tensors, read_inert
from tui_prune.archives.inert_pickle import PickleError
from tui_prune.errors import Remedy, TuiPruneError, UsageError

_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_PICKLE_OF_TORCH = b"\x80\x02"
_ADVICE = "Where the network was trained, save torch.save(model.state_dict(), FILE) and open that."
_NO_WEIGHTS = "{path} is no file that torch.save or safetensors wrote, so it holds no weights to open."
_LARGEST_HEADER = 200
_NAMED_CODE = re.compile(r"GLOBAL (\S+)")
_CODE_WORDS = ("unsupported global", "recognized function", "can only create new object", "can only build")


class CodeRefused(TuiPruneError):
    """A file whose ordinary reading would run code that it names."""


def read_weights(path: str | Path) -> Any:
    """As `read_archive`; of a file that holds more than weights, such as a whole pickled module, what `inert_file`
    makes of it without running anything.

    Raises `UsageError` and `TuiPruneError` like `read_archive`: the latter also where no tensors are found so.
    """
    try:
        return read_archive(path)
    except CodeRefused as refused:
        try:
            content = read_inert(paths.absolute(path))
        except (PickleError, OSError, ValueError, zipfile.BadZipFile):
            raise refused from None
        check_content(paths.absolute(path), content)
        if not holds_tensors(content):
            raise refused from None
        return content


def read_archive(path: str | Path, *, map_memory: bool = True) -> Any:
    """What `torch.save` or safetensors wrote into `path`, on the CPU; of a pruned checkpoint in either form the same.

    With `map_memory` the tensors stay in the file until they are used, where the format allows it.

    Raises `UsageError` when there is no such file; `TuiPruneError` when it can't be read, or when reading it would
    run code of the file's choice: that is refused, and nothing of it is run.
    """
    path = paths.absolute(path)
    start = _first_bytes(path)
    codec = codec_of(path, start)
    if codec is not None:
        check_room(path)
        return codec.read(path)
    if start.startswith(_PICKLE) and not start.startswith(_PICKLE_OF_TORCH):
        raise CodeRefused(
            f"{path} is a Python pickle that torch.save did not write. Reading one runs whatever code it names, so it "
            f"was refused and nothing of it was run. {_ADVICE}",
            remedies=[Remedy.OTHER],
        )
    mapped = map_memory and start.startswith(_ZIP)
    if start.startswith(_ZIP):
        _check_zip(path)
    if not mapped:
        check_room(path)
    try:
        with _harmless_types():
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        if _names_code(str(error)):
            raise _refusal(path, str(error)) from error
        raise _unreadable(path, start, error) from error
    except Exception as error:  # damaged bytes can make it raise anything
        raise _unreadable(path, start, error) from error
    check_content(path, content)
    return content


def _first_bytes(path: Path) -> bytes:
    if not paths.is_file(path):
        raise UsageError(paths.not_a_file(path), remedies=[Remedy.OTHER])
    try:
        with path.open("rb") as file:
            start = file.read(_LARGEST_HEADER)
    except OSError as error:
        raise TuiPruneError(
            f"{path} can't be read: {error.strerror}.", remedies=[Remedy.AGAIN, Remedy.OTHER]
        ) from error
    if not start:
        raise TuiPruneError(
            f"{path} is empty (0 bytes). Save or download it again.", remedies=[Remedy.AGAIN, Remedy.OTHER]
        )
    return start


def _check_zip(path: Path) -> None:
    members = members_of(path)
    records = {member.filename.rpartition("/")[2] for member in members}
    if "constants.pkl" in records:
        raise TuiPruneError(
            f"{path} is a TorchScript archive, whose code is fixed to its shapes, so it can't be pruned. "
            "Open the Python network that it was made from, with its weights."
        )
    if "data.pkl" not in records:
        raise TuiPruneError(_NO_WEIGHTS.format(path=path))
    check_members(path, members)


def _harmless_types() -> AbstractContextManager[Any]:
    """Lets in what training scripts often store beside the weights: their options, and NumPy's numbers.

    Building these runs no code of the file's choice. torch < 2.6 can't be told so for a limited time.
    """
    if not hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"):
        return nullcontext()
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")]
    types: list[Any] = [
        argparse.Namespace,
        np.dtype,
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        *dtypes,
    ]
    known = torch.serialization.get_safe_globals()
    return torch.serialization.safe_globals([entry for entry in types if entry not in known])


def _names_code(message: str) -> bool:
    return bool(_NAMED_CODE.search(message)) or any(words in message.lower() for words in _CODE_WORDS)


def _refusal(path: Path, message: str) -> TuiPruneError:
    named = _NAMED_CODE.search(message)
    code = f" ({named[1].rstrip('.')})" if named else ""
    return CodeRefused(
        f"{path} holds more than weights: reading it would run code that the file names{code}. It was refused and "
        f"nothing of it was run. {_ADVICE}",
        remedies=[Remedy.OTHER],
    )


def _unreadable(path: Path, start: bytes, error: Exception) -> TuiPruneError:
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return TuiPruneError(
            f"{path} is a web page, not a file of weights: the download went wrong. Do it again.",
            remedies=[Remedy.AGAIN, Remedy.OTHER],
        )
    if text.startswith(b"version https://git-lfs"):
        return TuiPruneError(
            f"{path} only points to the weights, which Git LFS keeps. Fetch them with `git lfs pull`.",
            remedies=[Remedy.AGAIN, Remedy.OTHER],
        )
    if start.startswith(_ZIP) or isinstance(error, EOFError) or "EOF" in str(error):
        return TuiPruneError(
            f"{path} is cut short or damaged. Save, copy or download it again.", remedies=[Remedy.AGAIN, Remedy.OTHER]
        )
    return TuiPruneError(_NO_WEIGHTS.format(path=path))


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
