"""What a file of tensors may ask for: no more memory than it has bytes, and nothing that never ends.

A file says itself how large its parts are. A compressed part, a tensor that repeats one number a thousand million times
and lists that hold each other twice make much of few bytes, and no training script writes them.
"""

import argparse
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tui_prune import formatting
from tui_prune.errors import Remedy, TuiPruneError
from tui_prune.memory import free_memory

_DAMAGED = "{path} is cut short or damaged. Save, copy or download it again."
_REPEATS = 4
"""All tensors together may have so many times the bytes that are stored: tied weights and slices of a buffer share
them."""
_SPARE = 2**26
"""Bytes that small files may make more of."""
_MOST_VALUES = 1_000_000
_DEEPEST = 200
_PIECE = 2**20


def members_of(path: Path) -> list[zipfile.ZipInfo]:
    """The parts of an archive. Raises `TuiPruneError` where it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise TuiPruneError(_DAMAGED.format(path=path), remedies=[Remedy.AGAIN, Remedy.OTHER]) from error


def check_members(path: Path, members: Iterable[zipfile.ZipInfo]) -> None:
    """Raises `TuiPruneError` where a part is compressed or encrypted, or where all have more bytes than the file."""
    if any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in members):
        raise TuiPruneError(
            f"{path} is a compressed archive, which torch.save never writes, so it was refused. "
            "Unpack it, or save the weights anew."
        )
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise TuiPruneError(_DAMAGED.format(path=path), remedies=[Remedy.AGAIN, Remedy.OTHER])


def check_sums(path: Path) -> None:
    """Raises `TuiPruneError` where a part of an archive isn't what its own checksum says; where torch.save was told to
    leave checksums out, or the file is no archive, nothing can be checked."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if not any(member.CRC for member in members):
                return
            for member in members:
                with archive.open(member) as part:
                    while part.read(_PIECE):
                        pass
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise TuiPruneError(
            f"{path} was damaged: a part of it isn't what its checksum says. Save, copy or download it again."
        ) from error


def check_room(path: Path) -> None:
    """Raises `TuiPruneError` where a file that is read whole has more bytes than there is memory."""
    octets, free = path.stat().st_size, free_memory()
    if free is not None and octets > free:
        raise TuiPruneError(
            f"{path} has {formatting.size(octets)}, and only {formatting.size(free)} of memory are free. "
            "Close other programs, or use a machine with more memory."
        )


def check_content(path: Path, content: Any) -> None:
    """Raises `TuiPruneError` where what was read is nested without end, or where its tensors show far more numbers than
    the file holds."""
    octets = path.stat().st_size
    stored: dict[int, int] = {}
    shown = 0
    try:
        for tensor in _tensors(path, content):
            shown += tensor.numel() * tensor.element_size()
            if tensor.is_quantized:
                tensor.qscheme()  # raises where a file has left it out
            if tensor.layout == torch.strided and not tensor.is_meta:
                storage = tensor.untyped_storage()
                stored[storage.data_ptr()] = storage.nbytes()
    except (RuntimeError, NotImplementedError) as error:
        raise TuiPruneError(_DAMAGED.format(path=path), remedies=[Remedy.AGAIN, Remedy.OTHER]) from error
    said = max(sum(stored.values()), shown // _REPEATS)
    if said > octets + _SPARE:
        raise TuiPruneError(
            f"{path} says that its tensors have {formatting.size(max(shown, said))}, and it holds "
            f"{formatting.size(octets)}. It was refused; save the weights anew."
        )


def _tensors(path: Path, content: Any) -> Iterable[Tensor]:
    """All tensors in plain containers, as often as they are there."""
    values = 0
    level = [content]
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for value in level:
            if isinstance(value, Tensor):
                yield value
            elif isinstance(value, Mapping):
                below += value.values()
            elif isinstance(value, (list, tuple, set, frozenset)):
                below += value
            elif isinstance(value, argparse.Namespace):
                below += vars(value).values()
        values += len(below)
        if not below:
            return
        if values > _MOST_VALUES:
            break
        level = below
    raise TuiPruneError(f"{path} holds values that are nested too deep or repeat each other, so it was refused.")
