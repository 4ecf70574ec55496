"""An example input that nobody gave is found by trying, and never changes the network."""

from pathlib import Path

import pytest
import torch

from tui_prune.errors import TuiPruneError
from tui_prune.loading.open_model import open_model, with_input
from tui_prune.session.session import Session

NETS = """
import torch
from torch import nn

def rows(): return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3))
def digits(): return nn.Sequential(nn.Conv2d(1, 8, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 13 * 13, 10))
def small(): return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(512, 10))
def large(): return nn.Sequential(nn.Conv2d(3, 8, 7, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
def five(): return nn.Sequential(nn.Conv2d(5, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
def signal(): return nn.Sequential(nn.Conv1d(4, 8, 3), nn.Conv1d(8, 2, 3))
def clip(): return nn.Sequential(nn.Conv3d(3, 4, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2))

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(50, 16), nn.Linear(16, 4)
    def forward(self, words):
        return self.out(self.table(words)).mean(1)

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.runs = nn.Conv2d(3, 8, 3), 0
    def forward(self, one, other, scale=1.0):
        self.runs += 1
        return self.conv(one) - scale * self.conv(other)

def odd(): return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 35 * 35, 4))
"""


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path / "nets.py"


@pytest.mark.parametrize(
    ("factory", "spec"),
    [
        ("rows", "1,20"),
        ("digits", "1,1,28,28"),
        ("small", "1,3,32,32"),
        ("large", "1,3,224,224"),
        ("five", "1,5,224,224"),
        ("signal", "1,4,16000"),
        ("clip", "1,3,16,112,112"),
        ("Words", "1,16:int"),
        ("Pair", "1,3,224,224;1,3,224,224"),
    ],
)
def test_a_shape_is_found_and_said(nets: Path, factory: str, spec: str) -> None:
    opened = open_model(f"{nets}:{factory}")
    assert opened.input_spec == spec
    assert opened.notes == (f"The example input {spec} is a guess; --input (in the app: I) gives another.",)
    with torch.no_grad():
        opened.module(*opened.example_inputs)


def test_a_shape_that_is_given_is_no_guess(nets: Path) -> None:
    opened = open_model(f"{nets}:five", input_spec="1,5,16,16")
    assert (opened.input_spec, opened.notes) == ("1,5,16,16", ())


def test_the_network_itself_is_not_run(nets: Path) -> None:
    assert open_model(f"{nets}:Pair").module.runs == 0


def test_the_networks_number_format_is_kept(nets: Path) -> None:
    nets.write_text(NETS + "\ndef halved(): return rows().to(torch.bfloat16)\n")
    opened = open_model(f"{nets}:halved")
    assert (opened.input_spec, opened.example_inputs[0].dtype) == ("1,20", torch.bfloat16)


def test_when_none_runs_the_forward_itself_says_why(nets: Path) -> None:
    with pytest.raises(TuiPruneError) as raised:
        Session.open(f"{nets}:odd")
    sentence = str(raised.value)
    assert "(RuntimeError: mat1 and mat2 shapes cannot be multiplied" in sentence
    assert "Give it an input of the right shape (--input)" in sentence
    assert "1,3,224,224 and " in sentence
    assert sentence.endswith("other shapes were tried.")
    assert Session.open(f"{nets}:odd", input_spec="1,3,37,37").opened.input_spec == "1,3,37,37"


def test_another_input_for_a_network_that_is_open(nets: Path) -> None:
    opened = open_model(f"{nets}:five")
    other = with_input(opened, "2,5,40,40")
    assert (other.module, other.input_spec, other.notes) == (opened.module, "2,5,40,40", ())
    assert other.example_inputs[0].shape == (2, 5, 40, 40)
