"""Files that torch.save or pickle wrote with more in them than tensors: read without running anything.

Tensors are rebuilt over the file's own bytes, dicts and lists are what they are, and a whole pickled module becomes
the state dict that it would have had. Everything else stays a `Stub`, by its name.
"""

import mmap
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from tui_prune.archives.inert_pickle import Name, Persistent, PickleError, Stub, read_pickle

_MAGIC = 0x1950A86A20F9469CFC6C
"""What a file of torch.save's old format starts with."""
_LOCAL_HEADER = 30
"""Bytes of a zip record's header before its name."""
_DEEPEST = 4
"""Levels of dicts and objects under which weights are looked for."""
_DEEPEST_MODULE = 200
_MOST_MODULES = 200_000
_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}
_MODULE_PARTS = ("_modules", "_parameters", "_buffers")


class ModuleTensors(dict[str, Tensor]):
    """The state dict of a module that was pickled whole."""

    kind: str = ""
    """Its class as the file writes it: "ultralytics.nn.tasks.DetectionModel"."""

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], kind: str) -> "ModuleTensors":
        """These tensors, of a module of this class."""
        made = cls(tensors)
        made.kind = kind
        return made

    @property
    def recipe(self) -> str:
        """What to write so that the module can be made: a factory for `net.py`, in a line."""
        module, _, name = self.kind.rpartition(".")
        made = f"from {module} import {name}" if module else "import its class"
        return f"{made}; def make(): return {name or 'the module'}(...)"


def read_inert(path: Path) -> Any:
    """What a file holds, on the CPU; nothing of it is run. Raises `PickleError`, `OSError`, `zipfile.BadZipFile`."""
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    content, _ = _archived(path, data) if data[:4] == b"PK\x03\x04" else _streamed(data)
    return _plain(content, _DEEPEST)


def holds_tensors(content: Any, depth: int = _DEEPEST) -> bool:
    """Whether there is a tensor in what `read_inert` gave."""
    if isinstance(content, dict) and depth >= 0:
        return any(holds_tensors(value, depth - 1) for value in content.values())
    return isinstance(content, Tensor)


class _Storages(Protocol):
    """The bytes of tensors beside a pickle."""

    def raw(self, key: str) -> memoryview:
        """Those of one storage."""
        ...


@dataclass(frozen=True, eq=False)
class _Storage:
    """One storage: where its bytes are, and how they are read."""

    source: _Storages
    key: str
    dtype: torch.dtype | None
    """None: the tensor says."""


@dataclass(frozen=True, eq=False)
class _LaterTensor:
    """What a file says of a tensor; its numbers are read when the tensor is asked for."""

    storage: _Storage
    dtype: torch.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def made(self) -> Tensor:
        """The tensor, over the bytes of the file. Raises `PickleError` where it would reach beyond them."""
        raw = self.storage.source.raw(self.storage.key)
        length = len(raw) // self.dtype.itemsize
        numbers = (self.offset, *self.size, *self.stride)
        whole = all(type(number) is int and 0 <= number < 2**62 for number in numbers)
        if not whole or len(self.size) != len(self.stride):
            raise PickleError("a tensor has no plain shape")
        count = prod(self.size)
        reach = self.offset + sum((size - 1) * step for size, step in zip(self.size, self.stride, strict=True)) + 1
        if count and (reach > length or count > length):
            raise PickleError("a tensor is larger than its bytes")
        if not count:
            return torch.empty(self.size, dtype=self.dtype)
        octets = np.frombuffer(raw, np.uint8, length * self.dtype.itemsize)
        if octets.ctypes.data % self.dtype.itemsize:
            octets = octets.copy()
        flat = torch.from_numpy(octets).view(self.dtype)
        return flat.as_strided(self.size, self.stride, self.offset)


# The forms of files.


class _ZipStorages:
    def __init__(self, archive: zipfile.ZipFile, data: mmap.mmap, folder: str) -> None:
        self._records = {info.filename: info for info in archive.infolist()}
        self._data, self._folder = data, folder

    def raw(self, key: str) -> memoryview:
        info = self._records.get(f"{self._folder}data/{key}")
        if info is None or info.compress_type != zipfile.ZIP_STORED:
            raise PickleError(f"it has no bytes of the storage {key}")
        header = self._data[info.header_offset : info.header_offset + _LOCAL_HEADER]
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        start = info.header_offset + _LOCAL_HEADER + lengths
        if start + info.file_size > len(self._data):
            raise PickleError("it is cut short")
        return memoryview(self._data)[start : start + info.file_size]


class _StreamStorages:
    """The storages behind the pickles of the old format; known once these are read."""

    def __init__(self) -> None:
        self.data: Any = b""
        self.places: dict[str, tuple[int, int]] = {}

    def raw(self, key: str) -> memoryview:
        if key not in self.places:
            raise PickleError(f"it has no bytes of the storage {key}")
        start, stop = self.places[key]
        return memoryview(self.data)[start:stop]


def _archived(path: Path, data: mmap.mmap) -> tuple[Any, int]:
    with zipfile.ZipFile(path) as archive:
        found = [info for info in archive.infolist() if info.filename.rpartition("/")[2] == "data.pkl"]
        if len(found) != 1 or found[0].file_size > len(data):
            raise PickleError("it has no data.pkl")
        folder = found[0].filename.removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise PickleError("its numbers are in another byte order")
        storages = _ZipStorages(archive, data, folder)
        return read_pickle(archive.read(found[0]), 0, _rebuilding(storages))


def _streamed(data: Any, depth: int = 0) -> tuple[Any, int]:
    """The old format of torch.save, or a plain pickle."""
    storages = _StreamStorages()
    storages.data = data
    rebuild = _rebuilding(storages, depth)
    first, place = read_pickle(data, 0, rebuild)
    if type(first) is not int or first != _MAGIC:
        return first, place
    for _ in range(2):  # the version of the protocol, and what the machine was like
        _, place = read_pickle(data, place)
    content, place = read_pickle(data, place, rebuild)
    keys, place = read_pickle(data, place)
    sizes = rebuild.sizes
    for key in keys if isinstance(keys, list) else ():
        count = int.from_bytes(data[place : place + 8], "little", signed=True)
        octets = count * sizes.get(str(key), 1)
        if count < 0 or place + 8 + octets > len(data):
            raise PickleError("it is cut short")
        storages.places[str(key)] = place + 8, place + 8 + octets
        place += 8 + octets
    return content, place


# What calls stand for.


class _rebuilding:
    """Rebuilds tensors and plain containers; every other call stays a stub."""

    def __init__(self, storages: _Storages, depth: int = 0) -> None:
        self._storages, self._depth = storages, depth
        self.sizes: dict[str, int] = {}
        """Bytes of one number, by the key of a storage."""

    def __call__(self, stub: Stub) -> Any:
        name, args = str(stub.made_by) if isinstance(stub.made_by, Name) else "", stub.args
        known = _CALLS.get(name)
        try:
            if known is not None:
                return known(self, *args)
        except (TypeError, AttributeError, ValueError):  # not with these arguments
            pass
        return stub

    def storage(self, found: Any) -> _Storage:
        """The storage that a reference means."""
        if isinstance(found, _Storage):
            return found
        if not isinstance(found, Persistent) or not isinstance(found.id, tuple) or len(found.id) < 5:
            raise PickleError("a tensor has no storage")
        _, kind, key, *_ = found.id
        dtype = _STORAGES.get(kind.name) if isinstance(kind, Name) else None
        self.sizes[str(key)] = 1 if dtype is None else dtype.itemsize
        return _Storage(self._storages, str(key), dtype)

    def tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> _LaterTensor:
        own = self.storage(storage)
        if own.dtype is None:
            raise PickleError("a tensor has no kind of number")
        return _LaterTensor(own, own.dtype, offset, tuple(size), tuple(stride))

    def tensor_of_kind(
        self, storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *rest: Any
    ) -> _LaterTensor:
        named = getattr(torch, dtype.name, None) if isinstance(dtype, Name) and dtype.module == "torch" else None
        if not isinstance(named, torch.dtype):
            raise PickleError("a tensor has no kind of number")
        return _LaterTensor(self.storage(storage), named, offset, tuple(size), tuple(stride))

    def same(self, value: Any, *rest: Any) -> Any:
        return value

    def of_type(self, function: Any, kind: Any, args: Any, state: Any) -> Any:
        made = self(Stub(function, tuple(args)))
        return made if isinstance(made, _LaterTensor) else Stub(function, args)

    def mapping(self, *args: Any) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        pairs = args[-1] if args and isinstance(args[-1], list) else []
        for key, value in pairs:
            if isinstance(key, str):
                made[key] = value
        return made

    def sequence(self, values: Any = (), *rest: Any) -> Any:
        return list(values) if isinstance(values, (list, tuple)) else []

    def shape(self, values: Any = (), *rest: Any) -> Any:
        return tuple(values)

    def octets(self, text: Any, encoding: Any) -> bytes:
        return text.encode("latin-1") if isinstance(text, str) else b""

    def saved_storage(self, data: Any) -> Any:
        """A storage that was pickled by itself, as a file within the file."""
        if self._depth or not isinstance(data, (bytes, bytearray)):
            raise PickleError("a storage holds another file")
        content, _ = _streamed(bytes(data), self._depth + 1)
        return _inner_storage(bytearray(data), content) if isinstance(content, Persistent) else content


def _inner_storage(data: bytearray, found: Persistent) -> _Storage:
    """The only storage in a file within the file: its bytes are the last ones."""
    storages = _StreamStorages()
    kind, count = found.id[1], found.id[4]
    dtype = _STORAGES.get(kind.name) if isinstance(kind, Name) else None
    if dtype is None or type(count) is not int or not 0 <= count * dtype.itemsize <= len(data):
        raise PickleError("a storage has no kind of number")
    storages.data, storages.places["0"] = data, (len(data) - count * dtype.itemsize, len(data))
    return _Storage(storages, "0", dtype)


_CALLS: Mapping[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _rebuilding.tensor,
    "torch._utils._rebuild_tensor_v2": _rebuilding.tensor,
    "torch._utils._rebuild_tensor_v3": _rebuilding.tensor_of_kind,
    "torch._utils._rebuild_parameter": _rebuilding.same,
    "torch._utils._rebuild_parameter_with_state": _rebuilding.same,
    "torch._tensor._rebuild_from_type_v2": _rebuilding.of_type,
    "torch.storage._load_from_bytes": _rebuilding.saved_storage,
    "collections.OrderedDict": _rebuilding.mapping,
    "collections.defaultdict": _rebuilding.mapping,
    "builtins.dict": _rebuilding.mapping,
    "__builtin__.dict": _rebuilding.mapping,
    "builtins.set": _rebuilding.sequence,
    "__builtin__.set": _rebuilding.sequence,
    "builtins.list": _rebuilding.sequence,
    "torch.Size": _rebuilding.shape,
    "_codecs.encode": _rebuilding.octets,
}


# From what was read to tensors by name.


def _plain(value: Any, depth: int) -> Any:
    """Tensors made, modules as their state dicts, and objects with entries as dicts, down to a depth."""
    if isinstance(value, _LaterTensor):
        return value.made()
    if isinstance(value, Stub):
        if _module_parts(value) is not None:
            return _module_tensors(value)
        array = _array(value)
        if array is not None:
            return array
        if not value.entries:
            return value
        value = {key: entry for key, entry in value.entries if isinstance(key, str)}
    if isinstance(value, dict) and depth:
        return {key: _plain(entry, depth - 1) for key, entry in value.items()}
    return value


def _module_parts(stub: Stub) -> dict[str, Any] | None:
    """The attributes of what was a module; None where it was none."""
    for state in (stub.state, *(arg for arg in stub.args if isinstance(arg, dict))):
        if all(isinstance(state.get(part), dict) for part in _MODULE_PARTS):
            return state
    return None


def _module_tensors(stub: Stub) -> ModuleTensors:
    """What `state_dict` would have given, in its order. Raises `PickleError` for a module without an end."""
    found = ModuleTensors.of({}, stub.kind)
    left: list[tuple[str, Stub, int]] = [("", stub, 0)]
    seen = 0
    while left:
        prefix, module, depth = left.pop()
        seen += 1
        if depth > _DEEPEST_MODULE or seen > _MOST_MODULES:
            raise PickleError("its modules are nested without an end")
        parts = _module_parts(module)
        if parts is None:
            continue
        found.update(_own_tensors(prefix, parts))
        children = [
            (f"{prefix}{name}.", child, depth + 1)
            for name, child in parts["_modules"].items()
            if isinstance(name, str) and isinstance(child, Stub)
        ]
        left.extend(reversed(children))
    return found


def _own_tensors(prefix: str, parts: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    passing = parts.get("_non_persistent_buffers_set")
    left_out = [name for name in passing if isinstance(name, str)] if isinstance(passing, list) else []
    for kind in ("_parameters", "_buffers"):
        for name, value in parts[kind].items():
            if isinstance(value, _LaterTensor) and not (kind == "_buffers" and name in left_out):
                yield f"{prefix}{name}", value.made()


def _array(stub: Stub) -> Tensor | None:
    """A NumPy array of numbers as a tensor; None for anything else."""
    try:
        if stub.kind.endswith("multiarray._reconstruct"):
            _, shape, kind, fortran, data = stub.other_state
        elif stub.kind.endswith("numeric._frombuffer"):
            data, kind, shape, order = stub.args
            fortran = order == "F"
        else:
            return None
        dtype = np.dtype(kind.args[0])
        if dtype.kind not in "fiub" or len(data) != prod(shape) * dtype.itemsize:
            return None
        values = np.frombuffer(bytearray(data), dtype).reshape(shape, order="F" if fortran else "C")
        return torch.from_numpy(np.array(values, order="C"))
    except (TypeError, ValueError, AttributeError, IndexError):
        return None
