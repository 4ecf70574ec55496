"""What is said of channels that stay: the line of the user's own code that is the reason, and which output it is."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tui_prune
from tests.small_nets import Outputs
from tui_prune.graph.registry import RULES

IMAGE = (2, 3, 8, 8)

LIBRARY = """
from torch import nn

def first_channels(x):
    return x[:, :5]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 1), nn.Conv2d(5, 4, 1)

    def forward(self, x):
        from helpers_of_locks import pick
        return self.b(pick(self.a(x)))
"""
HELPERS = """
def pick(x):
    return x[:, :5]
"""


def locks_of(model: nn.Module, inputs: Any = None, **recipe: Any) -> dict[str, tuple[str, str | None]]:
    """Reason and line by layer, of a network that is cut by half."""
    inputs = torch.randn(IMAGE) if inputs is None else inputs
    result = tui_prune.prune(model.eval(), inputs, **{"ratio": 0.5, **recipe})
    return {lock["layer"]: (lock["reason"], lock["where"]) for lock in result.report.locks}


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Two libraries, installed where no user's code is; one calls the other."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    for name, text in (("library_of_locks", LIBRARY), ("helpers_of_locks", HELPERS)):
        (folder / f"{name}.py").write_text(text)
        spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
    return sys.modules["library_of_locks"]


class CallsALibrary(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.a, self.b = nn.Conv2d(3, 16, 1), nn.Conv2d(5, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(self.a(x))
        return self.b(y)


def test_the_line_is_of_the_users_code_and_not_of_a_library_that_it_calls(library: ModuleType) -> None:
    reason, where = locks_of(CallsALibrary(library.first_channels))["a"]
    assert reason == "is sliced at a fixed place"
    assert where is not None
    assert where.startswith("test_words_of_locks.py:")
    assert where.endswith("y = self.function(self.a(x))")


def test_the_line_in_a_network_of_a_library_is_of_that_library(library: ModuleType) -> None:
    reason, where = locks_of(library.Net())["a"]
    assert reason == "is sliced at a fixed place"
    assert where == "library_of_locks.py:14: return self.b(pick(self.a(x)))"


class Wrapped(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.net(x))


def test_the_line_of_a_users_network_around_a_librarys_is_the_users(library: ModuleType) -> None:
    _, where = locks_of(Wrapped(library.Net()))["net.a"]
    assert where is not None
    assert where.endswith("return torch.relu(self.net(x))")


class RowsOfAFixedSize(nn.Module):
    """Two rows of 32 become one of 64 once `conv` is cut, and nothing fails before the next layer reads it."""

    def __init__(self, between: nn.Module) -> None:
        super().__init__()
        self.conv, self.between, self.head = nn.Conv1d(3, 64, 1), between, nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x).amax(2)
        y = y.view(-1, 64)
        y = self.between(y)
        return self.head(y).view(len(x), 5)


@pytest.mark.parametrize("between", [nn.ReLU(), nn.Sequential(nn.Linear(64, 64), nn.ReLU()), nn.LayerNorm(64)])
def test_the_line_is_of_the_view_that_takes_channels_for_rows(between: nn.Module) -> None:
    torch.manual_seed(0)
    reason, where = locks_of(RowsOfAFixedSize(between), torch.randn(4, 3, 9))["conv"]
    assert reason == "the model's code fixes this size"
    assert where is not None
    assert where.endswith("y = y.view(-1, 64)")


class AddsItsNeighbours(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.a(x))
        y = y + y.roll(1, 1)
        return self.b(y)


def test_channels_that_go_all_together_name_the_line_that_joins_them() -> None:
    reason, where = locks_of(AddsItsNeighbours())["a"]
    assert reason == "its channels can only go all together"
    assert where is not None
    assert where.endswith("y = y + y.roll(1, 1)")


class ReadsThroughNumpy(nn.Module):
    """What leaves by numpy and comes back has lost its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.b(x).mean(1) + torch.from_numpy(y.detach().numpy().mean(1))


def test_every_lock_of_what_ran_has_a_line() -> None:
    for model in (ReadsThroughNumpy(), AddsItsNeighbours(), Outputs(lambda classes, features: (classes, features))):
        assert all(where is not None for _, where in locks_of(model).values())


@dataclass
class Cache:
    keys: list[Tensor]
    values: list[Tensor]


@dataclass
class Answer:
    last_hidden_state: Tensor
    past_key_values: Cache
    loss: Tensor | None = None


class Attends(nn.Module):
    """Gives its keys and values back, as a network does that is asked for the next word."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(16, 16) for _ in range(4))

    def forward(self, x: Tensor) -> Answer:
        k, v = self.k(x), self.v(x)
        y = (self.q(x) @ k.mT).softmax(-1) @ v
        return Answer(self.out(y), Cache([k], [v]))


def test_a_lock_of_an_output_says_which_output() -> None:
    locks = locks_of(Attends(), torch.randn(2, 5, 16))
    assert {layer: reason for layer, (reason, _) in locks.items()} == {
        "k": "model output (past_key_values.keys[0])",
        "v": "model output (past_key_values.values[0])",
        "out": "model output (last_hidden_state)",
    }


def test_many_outputs_are_counted_and_an_only_one_needs_no_name() -> None:
    def several(classes: Tensor, features: Tensor) -> Any:
        return {"logits": classes, "maps": [features, features * 2, features * 3, features * 4, features * 5]}

    assert locks_of(Outputs(several))["b"][0] == "model output (maps[0], maps[1], maps[2] and 2 more)"
    assert locks_of(Outputs(several))["out"][0] == "model output (logits)"
    assert locks_of(Outputs(lambda classes, features: classes))["out"][0] == "model output"


def test_an_operator_that_a_rule_cannot_follow_is_named_without_what_python_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(tracer: Any, call: Any) -> None:
        raise AssertionError

    monkeypatch.setitem(RULES, "aten::cumprod", fails)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), Accumulates(), nn.Conv2d(8, 4, 1))
    reason, where = locks_of(model)["0"]
    assert reason == "operator cumprod is used in a way that isn't understood"
    assert where is not None
    assert where.endswith("return x.cumprod(1)")


class Accumulates(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.cumprod(1)


class NormedInHeads(nn.Module):
    """All channels are normalised together, and lie in heads meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).view(len(x), 4, -1)
        return self.b(F.layer_norm(y, y.shape[1:]).flatten(1))


@torch.no_grad()
def test_a_norm_over_channels_leaves_the_proof_exact() -> None:
    torch.manual_seed(0)
    model, x = NormedInHeads().eval(), torch.randn(3, 8)
    result = tui_prune.prune(model, x, ratio=0.5)
    assert result.report.equivalence.kind == "exact"
    assert result.report["equivalence"]["operators"] == []
    kept, new = result.kept["a.weight/0"], torch.randn(5, 8)
    assert len(kept) == 8
    normed = F.layer_norm(model.a(new)[:, kept], (8,))
    assert torch.allclose(result.model(new), F.linear(normed, model.b.weight[:, kept], model.b.bias), atol=1e-6)
