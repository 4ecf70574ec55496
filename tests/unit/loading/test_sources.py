"""A source of networks is one entry of a table: opened by name, cut, saved, and loaded again by what the file says."""

from pathlib import Path

import pytest
import torch
from torch import nn

import tui_prune
from tui_prune.archives.origin import Origin
from tui_prune.loading.building import build
from tui_prune.loading.known_names import find_names
from tui_prune.loading.open_model import open_model
from tui_prune.loading.sources.registry import SOURCES, Source


def make(name: str, arguments: dict) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )


TOY = Source(
    "toys", make, lambda name, arguments: "1,3,8,8", prefix="toy:", names=lambda: ("small",), version=lambda: "1.0"
)


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, TOY.kind, TOY)


def test_a_network_of_an_added_source_is_opened_cut_saved_and_loaded(tmp_path: Path) -> None:
    opened = open_model("toy:small")
    assert (opened.origin, opened.input_spec) == (Origin("toys", "small"), "1,3,8,8")
    from tui_prune.session.session import Session

    session = Session(opened, recipe=tui_prune.Recipe(ratio=0.5))
    session.save(tmp_path / "out.pt")
    loaded = tui_prune.load(tmp_path / "out.pt")
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(loaded(x), session.result().model(x))
    assert loaded[0].out_channels == 4


def test_its_names_are_offered_while_one_types() -> None:
    assert "toy:small" in find_names()


@pytest.mark.parametrize(
    ("origin", "sentence"),
    [
        (Origin("toys", "large"), "no toys network 'large'"),
        (Origin("toys", "small", {"widths": 3}), "isn't built with widths=3"),
        (Origin("nowhere", "small"), "doesn't know how a network of the kind 'nowhere'"),
    ],
)
def test_what_it_does_not_know_is_not_built(origin: Origin, sentence: str) -> None:
    with pytest.raises(tui_prune.TuiPruneError, match=sentence):
        build(origin)
