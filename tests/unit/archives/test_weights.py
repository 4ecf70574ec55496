"""Weights files: whatever wraps the weights comes off, and nothing in a file is ever run."""

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tui_prune.archives.archive import read_state_dict
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.loading.open_model import open_model


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).state_dict()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "old format"])
def test_files_of_torch_save(tmp_path: Path, state: dict[str, Tensor], suffix: str, new_format: bool) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save(state, path, _use_new_zipfile_serialization=new_format)
    assert same(read_state_dict(path), state)


def test_safetensors(tmp_path: Path, state: dict[str, Tensor]) -> None:
    save_file(state, tmp_path / "weights.safetensors")
    assert same(read_state_dict(tmp_path / "weights.safetensors"), state)


WRAPPINGS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "state_dict": lambda s: {"epoch": 3, "state_dict": s, "best": torch.tensor(0.9)},
    "model beside an optimizer": lambda s: {"model": s, "optimizer": {"state": {0: {"step": torch.zeros(3)}}}},
    "model before its average": lambda s: {"ema": {k: v + 1 for k, v in s.items()}, "model": s},
    "an average alone": lambda s: {"ema": s},
    "net": lambda s: {"net": s, "acc": 93.1},
    "two levels": lambda s: {"state": {"model_state_dict": s}},
    "an unusual key": lambda s: {"epoch": 1, "generator": s},
    "module.": lambda s: {f"module.{k}": v for k, v in s.items()},
    "_orig_mod.": lambda s: {f"_orig_mod.{k}": v for k, v in s.items()},
    "both": lambda s: {"params": {f"_orig_mod.module.{k}": v for k, v in s.items()}},
    "averaged model": lambda s: {"n_averaged": torch.tensor(7), **{f"module.{k}": v for k, v in s.items()}},
    "compiled part": lambda s: {k.replace("0.", "0._orig_mod.", 1): v for k, v in s.items()},
    "with options": lambda s: {"state_dict": s, "args": argparse.Namespace(lr=0.1), "best": np.float64(0.5)},
    "parameters": lambda s: {k: nn.Parameter(v) if v.is_floating_point() else v for k, v in s.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_whatever_wraps_the_weights_comes_off(tmp_path: Path, state: dict[str, Tensor], wrapping: str) -> None:
    torch.save(WRAPPINGS[wrapping](state), tmp_path / "weights.pt")
    assert same(read_state_dict(tmp_path / "weights.pt"), state)


class Hostile:
    """Makes a file when it is unpickled in the ordinary way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


class HostileBuiltin(Hostile):
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"__import__('os').mkdir({str(self.path)!r})",)


@pytest.mark.parametrize("kind", [Hostile, HostileBuiltin])
@pytest.mark.parametrize("form", ["zip", "old format", "pickle", "pickle of protocol 2", "pickle of protocol 0"])
def test_a_pickle_that_wants_to_run_code_is_refused_and_not_run(tmp_path: Path, kind: type[Hostile], form: str) -> None:
    proof, path = tmp_path / "ran", tmp_path / "weights.pt"
    if "pickle" in form:
        protocol = {"pickle": 4, "pickle of protocol 2": 2, "pickle of protocol 0": 0}[form]
        path.write_bytes(pickle.dumps(kind(proof), protocol=protocol))
    else:
        torch.save({"epoch": 3, "extra": kind(proof)}, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(TuiPruneError, match=r"refused and nothing of it was run.*torch\.save\(model\.state_dict\(\)"):
        read_state_dict(path)
    with pytest.raises(TuiPruneError, match="nothing of it was run"):
        open_model(str(path))
    assert not proof.exists()


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "old format"])
def test_weights_beside_code_are_read_and_the_code_is_not_run(
    tmp_path: Path, state: dict[str, Tensor], new_format: bool
) -> None:
    proof, path = tmp_path / "ran", tmp_path / "weights.pt"
    torch.save({"state_dict": state, "extra": Hostile(proof)}, path, _use_new_zipfile_serialization=new_format)
    assert same(read_state_dict(path), state)
    assert not proof.exists()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_torchscript_archive_is_called_one(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "script.pt")
    recwarn.clear()
    with pytest.raises(TuiPruneError, match="is a TorchScript archive"):
        open_model(str(tmp_path / "script.pt"))
    assert not recwarn.list


def test_truncated_files_are_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    for new_format in (True, False):
        torch.save({"weight": torch.zeros(5000)}, path, _use_new_zipfile_serialization=new_format)
        whole = path.read_bytes()
        for length in (len(whole) // 2, len(whole) - 30):
            path.write_bytes(whole[:length])
            with pytest.raises(TuiPruneError, match="cut short or damaged"):
                read_state_dict(path)


def test_a_truncated_safetensors_file(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(50)}, tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:-4])
    with pytest.raises(TuiPruneError, match=r"no whole \.safetensors file"):
        read_state_dict(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "no file that torch.save or safetensors wrote"),
        (b"just some text", "no file that torch.save or safetensors wrote"),
        (bytes(1000), "no file that torch.save or safetensors wrote"),
    ],
    ids=["empty", "web page", "Git LFS", "picture", "text", "zeros"],
)
def test_what_is_no_checkpoint_is_said_in_words(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(TuiPruneError, match=sentence):
        read_state_dict(tmp_path / "weights.pt")


@pytest.mark.parametrize("content", [{"epoch": 3, "lr": 0.1}, {}, [1, 2], torch.zeros(3), {"model": {"a": 1}}])
def test_a_file_without_weights(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(TuiPruneError, match="holds no weights"):
        read_state_dict(tmp_path / "weights.pt")


def test_missing_files_and_folders_are_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no file"):
        read_state_dict(tmp_path / "nowhere.pt")
    with pytest.raises(UsageError, match="is a folder"):
        read_state_dict(tmp_path)
