"""Files that want to run code, take memory or never end when they are read."""

from __future__ import annotations

import io
import pickle
import random
import struct
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from tests.attacks.trying import Try, attack
from tui_prune.archives.archive import read_state_dict
from tui_prune.archives.pruned_file import read_checkpoint
from tui_prune.errors import TuiPruneError
from tui_prune.loading.open_model import open_model

CALLS = (
    ("os", "system"),
    ("posix", "system"),
    ("subprocess", "call"),
    ("builtins", "exec"),
    ("builtins", "eval"),
    ("builtins", "open"),
    ("pathlib", "Path.touch"),
    ("torch", "load"),
    ("torch.hub", "load"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch.serialization", "load"),
    ("torch.nn.modules.container", "Sequential"),
    ("torch._dynamo.guards", "GuardBuilder.get"),
    ("runpy", "run_path"),
    ("importlib", "import_module"),
    ("functools", "partial"),
    ("operator", "attrgetter"),
    ("numpy.core.multiarray", "scalar"),
    ("argparse", "Namespace"),
    ("collections", "OrderedDict"),
    ("tests.attacks.archives", "Trap"),
)


class Trap:
    """Leaves a mark where it is made, called or given a state."""

    def __init__(self, *args: Any) -> None:
        Path("mark").touch()

    def __setstate__(self, state: Any) -> None:
        Path("mark").touch()


class Calling:
    """Is pickled as a call."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.what = function, args

    def __reduce__(self) -> Any:
        return self.what


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def called(rng: random.Random, module: str, name: str, mark: str) -> bytes:
    """Instructions that call something with an argument that would leave a mark, in one of the ways there are."""
    argument = text(
        rng.choice((f"touch {mark}", f"open({mark!r}, 'w')", mark, f"import os; os.system('touch {mark}')"))
    )
    way = rng.randrange(6)
    named = f"c{module}\n{name}\n".encode()
    if way == 0:
        return named + b"(" + argument + b"tR"
    if way == 1:
        return (
            b"(" + f"i{module}\n{name}\n".encode()
            if rng.random() < 0.1
            else b"(" + argument + (f"i{module}\n{name}\n".encode())
        )
    if way == 2:
        return text(module) + text(name) + b"\x93(" + argument + b"tR"
    if way == 3:
        return b"(" + named + argument + b"o"
    if way == 4:
        return named + b"(" + argument + b"t\x81"
    return named + b")\x81" + argument + b"b"


def program(rng: random.Random, mark: str) -> bytes:
    """A pickle that calls something somewhere between harmless values."""
    parts = [b"\x80", bytes([rng.choice((2, 2, 2, 3, 4, 5))]), b"}(" + text("w")]
    parts.append(called(rng, *rng.choice(CALLS), mark))
    parts += [b"u", b"."]
    if rng.random() < 0.3:
        parts.insert(rng.randrange(2, len(parts)), noise(rng))
    return b"".join(parts)


def noise(rng: random.Random) -> bytes:
    """Instructions at random."""
    codes = b"()]}NKMJIFXabceghijlopqrstu012.QPR" + bytes(range(0x85, 0x99))
    return bytes(rng.choice(codes) if rng.random() < 0.8 else rng.randrange(256) for _ in range(rng.randrange(1, 60)))


def laughs(rng: random.Random) -> bytes:
    """Lists that hold the same list twice, again and again; or lists in lists; or one in itself."""
    kind = rng.randrange(3)
    if kind == 0:
        steps = b"".join(b"q" + bytes([n]) + b"](h" + bytes([n]) + b"h" + bytes([n]) + b"e" for n in range(60))
        body = b"]" + steps
    elif kind == 1:
        body = b"]" * 6000 + b"a" * 5999
    else:
        body = b"]q\x01h\x01a"
    return (
        b"\x80\x02}"
        + text("format")
        + text("tui-prune")
        + b"s"
        + text("version")
        + b"K\x01s"
        + text("report")
        + body
        + b"s."
    )


def in_a_zip(rng: random.Random, data: bytes, path: Path) -> None:
    compression = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    folder = rng.choice(("archive", "x", "../x", "/x", ""))
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{folder}/data.pkl", data)
        archive.writestr(f"{folder}/version", "3\n")
        archive.writestr(f"{folder}/byteorder", rng.choice(("little", "little", "big", "")))
        for key in range(rng.randrange(3)):
            archive.writestr(f"{folder}/data/{key}", bytes(rng.choice((0, 4, 16, 4096))))
        if rng.random() < 0.1:
            archive.writestr(f"{folder}/data/bomb", bytes(10**7))


def in_the_old_format(data: bytes, path: Path) -> None:
    stream = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}):
        pickle.dump(value, stream, protocol=2)
    stream.write(data)
    pickle.dump([], stream, protocol=2)
    path.write_bytes(stream.getvalue())


def wrapped(rng: random.Random, data: bytes, path: Path) -> None:
    """The pickle in one of the forms of files."""
    form = rng.randrange(4)
    if form <= 1:
        in_a_zip(rng, data, path)
    elif form == 2:
        in_the_old_format(data, path)
    else:
        path.write_bytes(data)


@attack("archives that name code", "nothing of it is run", 1500)
def naming_code(rng: random.Random, folder: Path) -> Iterator[Try]:
    mark, path = folder / "mark", folder / "x.pt"
    while True:
        data = program(rng, str(mark))
        wrapped(rng, data, path)
        content = path.read_bytes()

        def action(content: bytes = content) -> None:
            path.write_bytes(content)
            for read in (read_state_dict, read_checkpoint, open_model):
                with suppress(TuiPruneError):
                    read(str(path))  # type: ignore[operator]
                assert not mark.exists(), "code was run"

        yield f"{data[:40]!r}", action


@attack("archives without end", "refused within a moment", 300)
def endless(rng: random.Random, folder: Path) -> Iterator[Try]:
    path = folder / "x.pt"
    while True:
        data = laughs(rng)
        if rng.random() < 0.5:
            data = data.replace(b".", b"", 0)[:-1] + text("w") + called(rng, "os", "system", "mark") + b"s."
        wrapped(rng, data, path)
        content = path.read_bytes()

        def action(content: bytes = content) -> None:
            path.write_bytes(content)
            for read in (read_checkpoint, read_state_dict):
                try:
                    read(path)  # type: ignore[operator]
                except TuiPruneError:
                    continue

        yield f"{len(data)} bytes", action


def rebuilt(rng: random.Random) -> bytes:
    """A tensor whose numbers say what they like."""

    def number(value: int) -> bytes:
        octets = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(octets)]) + octets

    odd = (0, 1, 2, 4, 16, 10**3, 10**6, 2**31, 2**40, 2**62, -1, 2**63)
    dims = rng.randrange(4)
    size, stride = ([number(rng.choice(odd)) for _ in range(dims)] for _ in range(2))
    kind = rng.choice(
        ("FloatStorage", "LongStorage", "HalfStorage", "BoolStorage", "ComplexDoubleStorage", "QInt8Storage")
    )
    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(rng.choice("0019")) + text("cpu")
    storage += number(rng.choice((0, 1, 4, 1024, rng.choice(odd)))) + b"tQ"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(rng.choice((0, 0, 0, rng.choice(odd))))
        + b"(" + b"".join(size) + b"t(" + b"".join(stride) + b"t\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


@attack("archives that lie of sizes", "refused, or no larger than the file", 1000)
def lying(rng: random.Random, folder: Path) -> Iterator[Try]:
    path = folder / "x.pt"
    while True:
        body = b"".join(text(f"layer.{n}") + rebuilt(rng) + b"s" for n in range(rng.randrange(1, 4)))
        code = text("z") + called(rng, "os", "system", "mark") + b"s" if rng.random() < 0.3 else b""
        wrapped(rng, b"\x80\x02}" + body + code + b".", path)
        content = path.read_bytes()

        def action(content: bytes = content) -> None:
            path.write_bytes(content)
            try:
                found = read_state_dict(path)
            except TuiPruneError:
                return
            for tensor in found.values():
                assert tensor.nbytes <= 2**28 + 4 * len(content), "larger than the file"
                assert torch.equal(tensor.cpu(), tensor) or bool((tensor != tensor).any())

        yield f"{len(content)} bytes", action
