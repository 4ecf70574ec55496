"""A checksum over plain values and tensors."""

import hashlib
import struct
from typing import Any

import torch
from torch import Tensor

from tui_prune.errors import TuiPruneError


def checksum(value: Any) -> str:
    """The SHA-256 of nested dicts, lists, tuples, tensors, texts and numbers, in hexadecimal digits.

    A list and a tuple of the same items count as equal, and so do dicts in any order. Tensors are read one after the
    other and not copied.

    Raises `TuiPruneError` for a value of another kind.
    """
    digest = hashlib.sha256()
    _add(digest, value)
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    if isinstance(value, dict):
        _add_tagged(digest, b"d", len(value))
        for key in sorted(value):
            _add(digest, key)
            _add(digest, value[key])
    elif isinstance(value, (list, tuple)):
        _add_tagged(digest, b"l", len(value))
        for item in value:
            _add(digest, item)
    elif isinstance(value, Tensor):
        _add(digest, [str(value.dtype), list(value.shape)])
        digest.update(_bytes(value))
    elif value is None or isinstance(value, (bool, int, str, float)):
        text = (value.hex() if isinstance(value, float) else str(value)).encode("utf-8", "surrogatepass")
        _add_tagged(digest, type(value).__name__[:1].encode(), len(text))
        digest.update(text)
    else:
        raise TuiPruneError(f"A value of the type {type(value).__name__} can't stand in a pruned checkpoint.")


def _add_tagged(digest: Any, tag: bytes, length: int) -> None:
    digest.update(tag + struct.pack("<Q", length))


def _bytes(tensor: Tensor) -> memoryview:
    octets: Any = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return memoryview(octets)
