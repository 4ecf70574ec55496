"""A residual branch that is cut to nothing goes whole: equal to the original without what the branch adds."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import tui_prune
from tests.exactness import assert_exact, largest_error, randomise_norms, trains
from tui_prune.cli.main import app
from tui_prune.loading.open_model import open_model
from tui_prune.report.prints import prints
from tui_prune.session.session import Session
from tui_prune.surgery.shortening import CannotGo

pytestmark = pytest.mark.usefixtures("one_thread_and_seed")

IMAGE = (2, 3, 8, 8)


class Basic(nn.Module):
    """As in a ResNet: written into in place, one activation for all."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)

    def bypassed(self, x: Tensor) -> Tensor:
        return torch.relu(x)


class PreActivated(nn.Module):
    """Activated in place before the first layer: what the stream holds must not change."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv, self.act = nn.BatchNorm2d(16), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(self.act(self.norm(x)))

    def bypassed(self, x: Tensor) -> Tensor:
        return x


class Transformer(nn.Module):
    """Two branches; attention takes and gives several values, and the second is scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.scale = nn.Parameter(torch.full((16,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).mT
        y = self.norm1(x)
        attended, _ = self.attention(y, y, y, need_weights=False)
        x = x + attended
        return (x + self.scale * self.mlp(self.norm2(x))).mT.unflatten(2, (8, 8))

    def bypassed(self, x: Tensor) -> Tensor:
        return x


class Network(nn.Module):
    def __init__(self, block: Callable[[], nn.Module] = Basic) -> None:
        super().__init__()
        self.stem, self.one, self.two = nn.Conv2d(3, 16, 3, padding=1), block(), block()
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.two(self.one(torch.relu(self.stem(x)))).mean((2, 3)))


def network(block: Callable[[], nn.Module]) -> nn.Module:
    return randomise_norms(Network(block)).eval()


@pytest.mark.parametrize("block", [Basic, PreActivated, Transformer])
@pytest.mark.parametrize("ratio", [0.0, 0.5])
def test_a_branch_goes_whole(block: type[nn.Module], ratio: float, tmp_path: Path) -> None:
    model = network(block)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = tui_prune.prune(model, torch.randn(IMAGE), ratio=ratio, layers={"two.*": 1.0}, heads="whole")
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    assert result.report.equivalence.kind == "exact"
    gone = copy.deepcopy(model)
    gone.two.forward = model.two.bypassed
    assert_exact(gone, result, (torch.randn(IMAGE),), telling=ratio > 0)
    trains(result.model, torch.randn(IMAGE))
    assert not any(name.startswith("two.") and name != "two.scale" for name in result.model.state_dict())
    tui_prune.save(tmp_path / "cut.pt", result)
    loaded, new = tui_prune.load(tmp_path / "cut.pt", model=Network(block)), torch.randn(1, 3, 12, 8)[..., :8, :]
    assert largest_error(loaded(new), result.model(new)) < 1e-6


def test_what_has_gone_is_in_the_plan_and_the_report() -> None:
    model = network(Basic)
    result = tui_prune.prune(model, torch.randn(IMAGE), layers={"one.conv1": 1.0})
    names = [layer.name for layer in result.plan.layers]
    assert names == ["stem", *(f"{b}.{n}" for b in ("one", "two") for n in ("conv1", "bn1", "conv2", "bn2")), "head"]
    rows = {layer.name: layer for layer in result.plan.layers}
    assert all(rows[f"one.{n}"].after == rows[f"one.{n}"].params.after == 0 for n in ("conv1", "bn1", "conv2", "bn2"))
    assert rows["two.conv1"].after == 16
    params = sum(p.numel() for p in model.parameters())
    assert result.plan.before.params == params
    assert result.plan.after.params == sum(p.numel() for p in result.model.parameters()) == params - 2 * (2320 + 32)
    assert {"name": "one.conv2", "kind": "conv 3x3", "before": 16, "after": 0} in result.report["layers"]
    assert rows["one.conv2"].note == "the residual branch of one goes whole"


def test_it_is_taken_over_in_place() -> None:
    model, new = network(Basic), torch.randn(IMAGE)
    wanted = tui_prune.prune(model, new, layers={"two": 1.0}, ratio=0.25).model(new)
    result = tui_prune.prune(model, new, layers={"two": 1.0}, ratio=0.25, inplace=True)
    assert result.model is model
    assert largest_error(model(new), wanted) < 1e-6


def test_a_session_goes_there_and_back() -> None:
    opened = open_model(model=network(Basic), input_spec="2,3,8,8")
    session = Session(opened, probing=False)
    before = session.plan.after.params
    assert [branch.name for branch in session.branches] == ["one", "two"]
    session.set_ratio(1.0, "two.*")
    assert session.plan.after.params < before
    assert session.plan.layer("two.conv1").after == 0
    assert session.plan.layer("one.conv1").after == 16
    details = [session.look(f"{block}.conv1").details for block in ("one", "two")]
    assert [one is not None and bool(one.outputs_kept.all()) for one in details] == [True, False]
    assert any("Threshold" in (row.after or "") for row in prints(session.plan).rows)
    session.set_ratio(0.5, "one.conv1")
    assert session.plan.layer("one.conv1").after == 8
    assert session.result().model.two.conv1.__class__.__name__ == "Threshold"
    session.undo()
    session.undo()
    assert session.plan.after.params == before
    again = Session(opened, probing=False)
    session.redo()
    again.restore(json.loads(json.dumps(session.state())))
    assert again.plan.layer("two.conv1").after == 0


def test_inspection_names_the_branches(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text("from tests.unit.graph.test_whole_blocks import Network as make\n")
    call = CliRunner().invoke
    found = json.loads(call(app, ["inspect", f"{file}:make", "--input", "2,3,8,8", "--json"]).stdout)["branches"]
    assert [(one["name"], one["layers"]) for one in found] == [
        (name, [f"{name}.{layer}" for layer in ("conv1", "bn1", "conv2", "bn2")]) for name in ("one", "two")
    ]
    assert all("out += identity" in one["where"] for one in found)
    text = call(app, ["inspect", f"{file}:make", "--input", "2,3,8,8"]).stdout
    assert "Residual branches that go whole where one of their layers has a ratio of 1:" in text


class Downsampled(Basic):
    def __init__(self) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(16, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class ReadsItsBranch(PreActivated):
    """Looks at a layer of the branch itself."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(self.act(self.norm(x))) / self.conv.weight.shape[2]


class Kept(PreActivated):
    """What the branch makes leaves the block as well."""

    def forward(self, x: Tensor) -> Tensor:
        made = self.conv(self.act(self.norm(x)))
        return torch.cat([(x + made)[:, :8], made[:, 8:]], 1)


@pytest.mark.parametrize("block", [Downsampled, Kept])
def test_what_is_no_branch_of_an_identity_stays(block: type[nn.Module]) -> None:
    with pytest.raises(tui_prune.UsageError, match="isn't inside a residual branch whose shortcut is its input"):
        tui_prune.prune(network(block), torch.randn(IMAGE), layers={"two.*": 1.0})


def test_a_branch_whose_parts_the_code_reads_is_refused_by_name() -> None:
    with pytest.raises(CannotGo, match=r"The branch of two can't go whole: the code around it needs more of its parts"):
        tui_prune.prune(network(ReadsItsBranch), torch.randn(IMAGE), layers={"two.*": 1.0})


def test_only_layers_can_be_cut_to_nothing() -> None:
    with pytest.raises(tui_prune.UsageError, match="up to, but not including, 1"):
        tui_prune.Recipe(ratio=1.0)
    with pytest.raises(tui_prune.UsageError, match="head can't be cut to nothing"):
        tui_prune.prune(network(Basic), torch.randn(IMAGE), layers={"head": 1.0})
