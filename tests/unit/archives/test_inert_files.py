"""Files with whole modules and trainers' objects in them: their tensors are read, and nothing of them is run."""

import argparse
import pickle
import struct
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tui_prune.archives.archive import read_state_dict
from tui_prune.archives.inert_file import read_inert
from tui_prune.archives.inert_pickle import PickleError, Stub, read_pickle
from tui_prune.errors import TuiPruneError
from tui_prune.loading import recognise
from tui_prune.loading.open_model import open_model


class History:
    """An object of a trainer's."""

    def __init__(self) -> None:
        self.losses = [0.5, 0.25]


class Settings(dict[str, Any]):
    """A dict of a trainer's."""


class Net(nn.Module):
    """With a shared part, a buffer that isn't saved, and half precision in places."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.same = self.first
        self.head = nn.Linear(4, 2).half()
        self.register_buffer("table", torch.arange(3), persistent=False)
        self.register_buffer("scale", torch.tensor(2.0))
        self.register_parameter("nothing", None)


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    return Net()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(
        torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one
    )


CONTENTS: dict[str, Callable[[nn.Module], Any]] = {
    "a whole module": lambda net: net,
    "a module in a wrapper": lambda net: nn.DataParallel(net),
    "a module beside its optimizer": lambda net: {
        "epoch": 3,
        "model": net,
        "ema": None,
        "optimizer": torch.optim.SGD(net.parameters(), 0.1),
        "train_args": Settings(lr=0.1),
    },
    "an average alone": lambda net: {"model": None, "ema": net, "updates": 7},
    "hooks of a trainer": lambda net: {
        "meta": {"history": History(), "args": argparse.Namespace(lr=0.1), "path": Path("x"), "best": np.float32(0.5)},
        "state_dict": net.state_dict(),
        "message_hub": {"scalars": OrderedDict(loss=History()), "seen": {1, 2}, "more": defaultdict(list, a=[1])},
    },
    "hyper-parameters of a class": lambda net: {"state_dict": net.state_dict(), "hyper_parameters": Settings(a=1)},
}


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "old format"])
@pytest.mark.parametrize("name", CONTENTS)
def test_the_tensors_of_a_trainers_file_are_read(tmp_path: Path, net: Net, name: str, new_format: bool) -> None:
    torch.save(CONTENTS[name](net), tmp_path / "best.pt", _use_new_zipfile_serialization=new_format)
    assert same(read_state_dict(tmp_path / "best.pt"), net.state_dict())


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles_of_modules_and_arrays(tmp_path: Path, net: Net, protocol: int) -> None:
    arrays = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"whole": net, "arrays": arrays}, protocol=protocol))
    found = read_inert(tmp_path / "model.pkl")
    assert same(found["whole"], net.state_dict()) and same(found["arrays"], net.state_dict())


def test_tensors_that_share_and_skip_bytes_keep_their_values(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    state = {"a.b": base[1:, ::2], "a.c": base.t(), "a.d": base[0, :0], "a.e": torch.tensor(3, dtype=torch.bfloat16)}
    torch.save({"state_dict": state, "extra": History()}, tmp_path / "views.pt")
    assert same(read_state_dict(tmp_path / "views.pt"), state)


def test_a_whole_module_opens_as_weights_beside_its_factory(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("from torch import nn\ndef make():\n    return nn.Sequential(nn.Linear(6, 3))\n")
    whole = nn.Sequential(nn.Linear(6, 3))
    torch.save({"model": whole, "history": History()}, tmp_path / "best.pt")
    opened = open_model(f"{tmp_path / 'net.py'}:make", weights=tmp_path / "best.pt", input_spec="1,6")
    assert same(dict(opened.module.state_dict()), whole.state_dict())
    assert any("holds a whole module (torch.nn.modules.container.Sequential)" in note for note in opened.notes)


def test_what_is_not_recognised_says_what_to_write(tmp_path: Path, net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognise, "candidates", lambda *args: [])
    monkeypatch.setattr(recognise, "has_timm", lambda: False)
    torch.save(net, tmp_path / "best.pt")
    with pytest.raises(TuiPruneError) as caught:
        open_model(str(tmp_path / "best.pt"))
    said = str(caught.value)
    assert "It is a whole Net" in said and "import Net; def make(): return Net(...)" in said
    assert f"tui-prune net.py:make --weights {tmp_path / 'best.pt'}" in said


# What a hostile file may try.

CALL = b"cos\nmkdir\n"
HOSTILE = {
    "REDUCE": CALL + b"(V%s\ntR.",
    "INST": b"(V%s\nios\nmkdir\n.",
    "OBJ": b"(" + CALL + b"V%s\no.",
    "NEWOBJ": b"\x80\x02" + CALL + b"(V%s\nt\x81.",
    "NEWOBJ_EX": b"\x80\x04" + CALL + b"(V%s\nt}\x92.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93(V%s\ntR.",
    "BUILD": CALL + b"(V%s\ntR}V__setstate__\n" + CALL + b"sb.",
    "BINPERSID": b"\x80\x02" + CALL + b"(V%s\ntRQ.",
    "a call of a call": CALL + b"(V%s\ntR)R.",
    "a key that is a call": b"}" + CALL + b"(V%s\ntRI1\ns.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_instruction_that_calls_calls(tmp_path: Path, name: str) -> None:
    proof = tmp_path / "ran"
    data = HOSTILE[name].replace(b"%s", str(proof).encode())
    found, _ = read_pickle(data)
    assert not proof.exists() and (isinstance(found, (Stub, dict)) or name == "BINPERSID")
    if name in ("REDUCE", "INST", "OBJ", "STACK_GLOBAL"):
        pickle.loads(data)
        assert proof.exists()  # the ordinary way does run it


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02\x82\x01.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
        b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"x.",
        b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
        b"\x80\x02X" + struct.pack("<I", 2**32 - 1) + b"x.",
        b"\x80\x02}(K\x01u.",
        b"\x80\x02K\x01a.",
        b"\x80\x02h\x07.",
        b"\x80\x02.",
        b"\x80\x02]",
        b"\xff\xff",
        b"",
    ],
)
def test_what_is_broken_or_larger_than_the_file_is_an_error(data: bytes) -> None:
    with pytest.raises(PickleError):
        read_pickle(data)


def test_deep_and_endless_structures_end(tmp_path: Path) -> None:
    deep = b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b"."
    tuples = b"\x80\x02)" + b"\x85" * 20_000 + b"."
    keys = b"\x80\x02})" + b"\x85" * 20_000 + b"K\x01s."
    memo = b"\x80\x02]r" + struct.pack("<I", 2**32 - 1) + b"."
    for data in (deep, tuples, keys, memo):
        read_pickle(data)
    (tmp_path / "deep.pt").write_bytes(deep)
    with pytest.raises(TuiPruneError, match="refused|no file that torch.save"):
        read_state_dict(tmp_path / "deep.pt")

    net = nn.Sequential(nn.Linear(2, 2))
    net.again = net  # as no network can be, but a pickle can
    torch.save(net, tmp_path / "endless.pt")
    with pytest.raises(TuiPruneError, match="refused"):
        read_state_dict(tmp_path / "endless.pt")


def rewritten(path: Path, change: Callable[[str, bytes], bytes]) -> None:
    """The same archive with other bytes in its records."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records.items():
            archive.writestr(name, change(name, data))


def test_a_tensor_can_not_reach_beyond_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    torch.save({"state_dict": {"a.weight": torch.zeros(64)}, "extra": History()}, path)
    rewritten(path, lambda name, data: data[:128] if name.endswith("data/0") else data)
    with pytest.raises(TuiPruneError, match="refused"):
        read_state_dict(path)
    torch.save({"state_dict": {"a.weight": torch.zeros(64)}, "extra": History()}, path)
    size = b"K@\x85"  # BININT1 64, TUPLE1
    large = b"\x8a\x05" + (2**36).to_bytes(5, "little") + b"\x85"
    rewritten(path, lambda name, data: data.replace(size, large) if name.endswith("data.pkl") else data)
    with pytest.raises(PickleError, match="larger than its bytes"):
        read_inert(path)
