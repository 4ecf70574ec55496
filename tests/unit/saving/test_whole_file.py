"""A file is written whole or not at all, and what was there before is only replaced on purpose."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tui_prune
from tui_prune.errors import Cancelled, TuiPruneError
from tui_prune.result import Result
from tui_prune.saving import whole_file
from tui_prune.saving.checkpoint import TargetExistsError, verify_checkpoint
from tui_prune.saving.whole_file import WatchedFile, write_whole
from tui_prune.session.session import Session


@pytest.fixture(scope="module")
def result() -> Result:
    session = Session.open()
    session.set_ratio(0.5)
    return session.cut()


def fine(part: Path) -> None:
    """Finds nothing wrong with a file."""


def writing(data: bytes) -> Callable[[WatchedFile], None]:
    return lambda file: file.write(data) and None


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_existing_file_stays_until_it_may_be_replaced(tmp_path: Path, result: Result) -> None:
    target = tmp_path / "out.pt"
    target.write_bytes(b"precious")
    with pytest.raises(TargetExistsError, match=r"out\.pt exists already and was left as it is; pass --force"):
        tui_prune.save(target, result)
    assert target.read_bytes() == b"precious"
    tui_prune.save(target, result, force=True)
    assert verify_checkpoint(target).ok
    assert names(tmp_path) == ["out.pt"]


def test_a_file_that_comes_up_meanwhile_stays_too(tmp_path: Path) -> None:
    target = tmp_path / "out.pt"
    with pytest.raises(TargetExistsError):
        write_whole(target, writing(b"new"), lambda part: target.write_bytes(b"other") and None)
    assert target.read_bytes() == b"other"
    assert names(tmp_path) == ["out.pt"]


def test_a_disk_without_links_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*paths: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    write_whole(tmp_path / "out.pt", writing(b"new"), fine)
    with pytest.raises(TargetExistsError):
        write_whole(tmp_path / "out.pt", writing(b"newer"), fine)
    assert (tmp_path / "out.pt").read_bytes() == b"new"
    assert names(tmp_path) == ["out.pt"]


class FullDisk:
    """Takes so many bytes and no more."""

    def __init__(self, file: Any, space: int) -> None:
        self._file, self._space = file, space

    def write(self, data: bytes) -> int:
        self._space -= len(data)
        if self._space < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "FullDisk":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


@pytest.mark.parametrize("space", [0, 10_000, 200_000])
@pytest.mark.parametrize("existing", [False, True], ids=["new file", "old file"])
def test_a_full_disk_leaves_everything_as_it_was(
    tmp_path: Path, result: Result, monkeypatch: pytest.MonkeyPatch, space: int, existing: bool
) -> None:
    target = tmp_path / "out.pt"
    if existing:
        target.write_bytes(b"precious")
    create = whole_file._create
    monkeypatch.setattr(whole_file, "_create", lambda *paths: FullDisk(create(*paths), space))
    with pytest.raises(TuiPruneError, match=rf"can't be written: the disk of {tmp_path} is full\. Free some space"):
        tui_prune.save(target, result, force=existing)
    assert names(tmp_path) == (["out.pt"] if existing else [])
    assert not existing or target.read_bytes() == b"precious"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_error_at_the_end_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "out.pt").write_bytes(b"precious")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(TuiPruneError, match="Input/output error"):
        write_whole(tmp_path / "out.pt", writing(b"new"), fine, force=True)
    assert (tmp_path / "out.pt").read_bytes() == b"precious"
    assert names(tmp_path) == ["out.pt"]


def test_a_folder_that_takes_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(TuiPruneError, match="is read-only for you. Save to another folder"):
        write_whole(tmp_path / "out.pt", writing(b"new"), fine)


def test_missing_folders_and_folders_as_targets(tmp_path: Path, result: Result) -> None:
    with pytest.raises(TuiPruneError, match=r"there is no folder .*nowhere\. Make it first"):
        tui_prune.save(tmp_path / "nowhere" / "out.pt", result)
    with pytest.raises(TuiPruneError, match="is a folder; name a file in it"):
        tui_prune.save(tmp_path, result, force=True)


@pytest.mark.parametrize("stage", ["save", "check"])
def test_cancelling_leaves_nothing(tmp_path: Path, result: Result, stage: str) -> None:
    seen: list[float] = []

    def stop(now: str, done: float) -> None:
        seen.append(done)
        if now == stage and done > 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        tui_prune.save(tmp_path / "out.pt", result, progress=stop)
    assert seen == sorted(seen)
    assert names(tmp_path) == []


def test_cancelling_after_the_last_moment_does_not_lie(tmp_path: Path, result: Result) -> None:
    def stop(stage: str, done: float) -> None:
        if done == 1.0:
            raise Cancelled

    tui_prune.save(tmp_path / "out.pt", result, progress=stop)
    assert names(tmp_path) == ["out.pt"]


def test_a_file_that_came_out_wrong_is_not_kept(
    tmp_path: Path, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = torch.save

    def save_wrong(content: dict[str, Any], file: Any) -> None:
        first = next(iter(content["tensors"].values()))
        save({**content, "tensors": {**content["tensors"], "tnn_bin.0.weight": torch.zeros_like(first)}}, file)

    monkeypatch.setattr(torch, "save", save_wrong)
    with pytest.raises(TuiPruneError, match=r"out\.pt was not written, because the file came out wrong: .*checksum"):
        tui_prune.save(tmp_path / "out.pt", result)
    assert names(tmp_path) == []


def test_a_wrong_network_is_not_kept(tmp_path: Path, result: Result) -> None:
    weights = result.model.state_dict()
    spoiled = {name: tensor.clone() for name, tensor in weights.items()}
    spoiled["tnn_bin.0.weight"] = spoiled["tnn_bin.0.weight"].flip(0)
    original = {name: tensor.clone() for name, tensor in weights.items()}
    result.model.load_state_dict(spoiled)
    try:
        with pytest.raises(TuiPruneError, match="came out wrong: They differ from the masked original's by"):
            tui_prune.save(tmp_path / "out.pt", result)
    finally:
        result.model.load_state_dict(original)
    assert names(tmp_path) == []


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "real.pt").write_bytes(b"old")
    (tmp_path / "link.pt").symlink_to(tmp_path / "store" / "real.pt")
    write_whole(tmp_path / "link.pt", writing(b"new"), fine, force=True)
    assert (tmp_path / "link.pt").is_symlink()
    assert (tmp_path / "store" / "real.pt").read_bytes() == b"new"
    assert names(tmp_path / "store") == ["real.pt"]


def test_permissions_are_those_of_the_old_file_or_the_usual_ones(tmp_path: Path) -> None:
    (tmp_path / "old.pt").write_bytes(b"old")
    (tmp_path / "old.pt").chmod(0o640)
    write_whole(tmp_path / "old.pt", writing(b"new"), fine, force=True)
    assert stat.S_IMODE((tmp_path / "old.pt").stat().st_mode) == 0o640
    write_whole(tmp_path / "new.pt", writing(b"new"), fine)
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "new.pt").stat().st_mode == (tmp_path / "plain").stat().st_mode
