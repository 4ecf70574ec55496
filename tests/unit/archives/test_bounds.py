"""A file of tensors may ask for no more than it holds, and says so itself where it was damaged."""

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tui_prune.archives.archive import read_archive, read_state_dict
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.loading.input_spec import parse_input_spec


def repacked(path: Path, compression: int) -> Path:
    """The same archive with its parts compressed."""
    torch.save({"w": torch.zeros(1000)}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def laughs() -> Any:
    value: Any = [1.0]
    for _ in range(60):
        value = [value, value]
    return {"w": torch.zeros(2), "more": value}


def deep() -> Any:
    value: Any = [torch.zeros(2)]
    for _ in range(5000):
        value = [value]
    return {"w": torch.zeros(2), "more": value}


def endless() -> Any:
    value: list[Any] = [torch.zeros(2)]
    value.append(value)
    return {"w": torch.zeros(2), "more": value}


def pickled(value: Any) -> bytes:
    """By Python's own pickler in Python, which has no limit of its own where the one in C has."""
    import io
    import sys

    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        stream = io.BytesIO()
        torch.save(value, stream)
        return stream.getvalue()
    finally:
        sys.setrecursionlimit(before)


@pytest.mark.parametrize("make", [laughs, deep, endless])
def test_values_without_end_are_refused(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    try:
        path.write_bytes(pickled(make()))
    except (RecursionError, pickle.PicklingError):
        pytest.skip("this Python can't write such a file")
    with pytest.raises(TuiPruneError, match=r"nested too deep or repeat"):
        read_archive(path)


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    for map_memory in (False, True):
        with pytest.raises(TuiPruneError, match="compressed archive"):
            read_archive(repacked(tmp_path / "w.pt", zipfile.ZIP_DEFLATED), map_memory=map_memory)


def test_a_tensor_that_shows_one_number_a_million_million_times_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "w.pt")
    with pytest.raises(TuiPruneError, match="say.* that its tensors have"):
        read_archive(tmp_path / "w.pt")


def test_tied_weights_and_small_views_are_read(tmp_path: Path) -> None:
    weight = torch.randn(40, 3)
    torch.save({"a": weight, "b": weight, "row": weight[0].expand(5, 3)}, tmp_path / "w.pt")
    state = read_state_dict(tmp_path / "w.pt")
    assert torch.equal(state["a"], weight) and state["row"].shape == (5, 3)


def test_a_flipped_bit_is_found_by_the_sums_of_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"w": torch.ones(1000)}, path)
    content = bytearray(path.read_bytes())
    place = content.index(torch.ones(8).numpy().tobytes()) + 400
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(TuiPruneError, match=r"damaged.*checksum"):
        read_state_dict(path)


@pytest.mark.skipif(not hasattr(torch.serialization, "set_crc32_options"), reason="torch always writes the sums")
def test_an_archive_without_sums_is_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.ones(10)}, tmp_path / "w.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_state_dict(tmp_path / "w.pt")["w"], torch.ones(10))


@pytest.mark.parametrize("spec", ["1,3,100000,100000", "9" * 5000, ";".join(["1,3,4000,4000"] * 50), "9" * 900 + ",1"])
def test_an_input_that_no_memory_holds_is_refused_in_a_short_sentence(spec: str) -> None:
    with pytest.raises(UsageError, match="is too l") as raised:
        parse_input_spec(spec)
    assert len(re.sub(r"Write the sizes.*", "", str(raised.value))) < 200
