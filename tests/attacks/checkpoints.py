"""Checkpoints and weights: damaged ones, and whole ones with values that no network has."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

import tui_prune
from tests.attacks.mutating import DEEP, ODD_VALUES, changed, damaged
from tests.attacks.trying import Try, attack
from tui_prune.archives import safetensors_form
from tui_prune.archives.archive import read_state_dict
from tui_prune.archives.pruned_file import checksum, parse_checkpoint, read_checkpoint, report_in
from tui_prune.errors import TuiPruneError
from tui_prune.saving.verify import verify_checkpoint


def network() -> nn.Module:
    """A small one of the user's own."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()


@cache
def own_content() -> dict[str, Any]:
    """What a pruned checkpoint of it holds."""
    from tui_prune.saving.checkpoint import compose

    result = tui_prune.prune(network(), torch.randn(1, 3, 8, 8), ratio=0.5)
    return compose(Path("own.pt"), result).to_content()


@cache
def bundled_content() -> dict[str, Any]:
    """Of a network that can be built by name."""
    from tui_prune.loading.open_model import open_model
    from tui_prune.saving.checkpoint import compose
    from tui_prune.session.session import Session

    session = Session(open_model("nin"), recipe=tui_prune.Recipe(ratio=0.9))
    return compose(Path("bundled.pt"), session.cut()).to_content()


def written(path: Path, content: dict[str, Any]) -> bytes:
    if path.suffix == ".safetensors":
        path.write_bytes(safetensors_form.pack(content))
    else:
        torch.save(content, path)
    return path.read_bytes()


@attack("damaged checkpoints", "refused, or equal to what was saved", 2000)
def damaged_checkpoints(rng: random.Random, folder: Path) -> Iterator[Try]:
    paths = [folder / "own.pt", folder / "own.safetensors"]
    contents = [written(path, own_content()) for path in paths]
    wanted = own_content()["checksum"]
    while True:
        which = rng.randrange(2)
        path, (label, data) = paths[which], damaged(rng, contents[which])

        def action(path: Path = path, data: bytes = data) -> None:
            path.write_bytes(data)
            report_in(path)
            try:
                found = read_checkpoint(path)
            except TuiPruneError:
                return
            assert found.to_content()["checksum"] == wanted, "read as something else"

        yield f"{path.suffix} {label}", action


@attack("damaged weights", "refused, or equal to what was saved", 1500)
def damaged_weights(rng: random.Random, folder: Path) -> Iterator[Try]:
    path, state = folder / "bare.pt", network().state_dict()
    torch.save(state, path)
    content = path.read_bytes()
    while True:
        label, data = damaged(rng, content)

        def action(data: bytes = data) -> None:
            path.write_bytes(data)
            try:
                found = read_state_dict(path)
            except TuiPruneError:
                return
            assert found.keys() == state.keys(), "other names"
            assert all(torch.equal(found[name], state[name]) for name in state), "other numbers"

        yield label, action


@attack("damaged old files", "refused, or read without a crash", 500)
def damaged_old_files(rng: random.Random, folder: Path) -> Iterator[Try]:
    path = folder / "old.pt"
    torch.save(network().state_dict(), path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    while True:
        label, data = damaged(rng, content)

        def action(data: bytes = data) -> None:
            path.write_bytes(data)
            try:
                read_state_dict(path)
            except TuiPruneError:
                return

        yield label, action


def deep() -> list[Any]:
    """Lists in lists."""
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    return value


ODD_TENSORS = (
    torch.zeros(0),
    torch.full((8,), float("nan")),
    torch.full((8, 3, 3, 3), float("inf")),
    torch.zeros(1).expand(10**5, 10**5),
    torch.tensor([-1, 10**6], dtype=torch.int32),
    torch.zeros(8, dtype=torch.complex64),
    torch.zeros(2, 2, 2, dtype=torch.bool),
    torch.tensor([2**40]),
)


SMALL_TENSORS = tuple(tensor for tensor in ODD_TENSORS if tensor.nbytes < 10**6)


@attack("checkpoints with odd values", "a sentence, or a network that runs", 1500)
def odd_values(rng: random.Random, folder: Path) -> Iterator[Try]:
    path = folder / "odd.pt"
    odd = (*ODD_VALUES, 10**400, DEEP, *ODD_TENSORS, *ODD_TENSORS)
    while True:
        content = bundled_content()
        if rng.random() < 0.5:  # its tensors and positions are most of its values
            content = {key: value for key, value in content.items() if key not in ("tensors", "kept")}
        labels = []
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            label, content = changed(rng, content, odd)
            labels.append(label)
            if not isinstance(content, dict):
                break
        whole = {**bundled_content(), **content} if isinstance(content, dict) else content

        def action(whole: Any = whole) -> None:
            try:
                whole = {key: value for key, value in whole.items() if key != "checksum"}
                whole["checksum"] = checksum(whole)
            except (TuiPruneError, TypeError, RecursionError, RuntimeError):
                pass
            torch.save(whole, path)
            report_in(path)
            try:
                report = verify_checkpoint(path)
                if not report.ok:
                    return
                model = tui_prune.load(path)
                model(torch.zeros(1, 3, 32, 32))
            except TuiPruneError as error:
                assert str(error).isprintable() or len(str(error)) < 5000

        yield ", ".join(labels), action


@attack("odd checkpoints in memory", "a sentence, or a checkpoint", 1000)
def odd_contents(rng: random.Random, folder: Path) -> Iterator[Try]:
    while True:
        content = copy.copy(own_content())
        label, content = changed(rng, content, (*ODD_VALUES, deep(), *SMALL_TENSORS))

        def action(content: Any = content) -> None:
            try:
                content = {key: value for key, value in content.items() if key != "checksum"}
                content["checksum"] = checksum(content)
            except (TuiPruneError, TypeError, RecursionError, AttributeError):
                return
            try:
                parse_checkpoint(content, Path("x.pt"))
            except TuiPruneError:
                return

        yield label, action
