"""A pruned network as a Python file: it runs where there is no tui-prune, and is an ordinary class there."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

import tui_prune
from tui_prune.archives.pruned_file import read_checkpoint
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.planning.recipe import Recipe
from tui_prune.saving.exporting import python_file
from tui_prune.session.session import Session


def saved(folder: Path, spec: str, recipe: Recipe, shape: str | None = None) -> Path:
    session = Session.open(spec, input_spec=shape)
    session.apply(recipe)
    return session.save(folder / "pruned.pt")


def imported(checkpoint: Path, folder: Path) -> nn.Module:
    """What the file of a checkpoint makes, in this process."""
    read, network = read_checkpoint(checkpoint), tui_prune.load(checkpoint)
    file = folder / "made.py"
    torch.save(dict(python_file.named_tensors(network)), python_file.weights_of(file))
    names: dict[str, Any] = {"__name__": "made", "__file__": str(file)}
    exec(compile(python_file._code(read, network, "made"), str(file), "exec"), names)
    return names["load"]()


def test_the_file_runs_in_a_process_without_tui_prune(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path, "nin_grouped_same_width", Recipe(ratio=0.5))
    report = tui_prune.export(checkpoint, tmp_path / "small.py")
    assert report.max_error == 0 and len(report.compared) >= 2 and report.format == "py"
    code, weights = (tmp_path / "small.py").read_text(), tmp_path / "small_weights.pt"
    assert "import tui_prune" not in code and "from tui_prune" not in code and report.weights == str(weights)
    assert report.bytes == weights.stat().st_size + len(code.encode())
    with pytest.raises(TuiPruneError, match="exists"):
        tui_prune.export(checkpoint, tmp_path / "small.py")


def test_a_branch_that_has_gone(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path, "resnet18", Recipe(ratio=0.3, layers={"layer2.1.conv1": 1.0}), "1,3,32,32")
    model, x = imported(checkpoint, tmp_path), torch.randn(2, 3, 32, 32)
    assert (
        isinstance(model, torchvision.models.ResNet) and type(model).__name__ == "PrunedResNet" and not model.training
    )
    torch.testing.assert_close(model(x), tui_prune.load(checkpoint)(x))
    model.train()(x).sum().backward()


def test_sizes_in_tuples_and_configurations() -> None:
    class Config(SimpleNamespace):
        pass

    names: dict[str, Any] = {}
    exec("import copy\n" + python_file._TAIL[python_file._TAIL.index("def _changed") :], names)
    config, change = Config(width=8, heads=[4, 4]), names["_changed"]
    assert change((16,), (0,), 8) == (8,) and change(16, (), 8) == 8 and change((16, 4), (), [8, 4]) == (8, 4)
    assert change(torch.Size([16, 2]), (0,), 8) == torch.Size([8, 2]) and change({"a": 4}, ("a",), 2) == {"a": 2}
    assert change(config, ("heads", 1), 2).heads == [4, 2] and config.heads == [4, 4]  # others may have the same one


def test_why_there_is_no_file(tmp_path: Path) -> None:
    own = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1))
    tui_prune.save(tmp_path / "own.pt", tui_prune.prune(own, torch.randn(1, 3, 4, 4), ratio=0.5))
    with pytest.raises(UsageError, match="its code is your own file"):
        tui_prune.export(tmp_path / "own.pt", tmp_path / "own.py", model=own)
    with pytest.raises(UsageError, match="name it like a module"):
        tui_prune.export(tmp_path / "own.pt", tmp_path / "my-net.py", model=own)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["own.pt"]
