"""The command log: run again, it gives the same network with the same weights."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer.main
from typer.testing import CliRunner

from tui_prune.archives.pruned_file import read_checkpoint
from tui_prune.cli import options
from tui_prune.cli.main import app
from tui_prune.loading.request import OpenRequest
from tui_prune.loading.sources.bundled import bundled_task
from tui_prune.planning import fields
from tui_prune.planning.recipe import Recipe
from tui_prune.session.command_log import CommandLog, command_log
from tui_prune.session.session import Session

NET = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 8, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(128, 5),
    )
"""
TASK = """
import torch

def calibration():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(32, 3, 8, 8, generator=generator) for _ in range(4)]
"""
RECIPES = [
    Recipe(ratio=0.1 + 0.2, align=4, layers={"0": 0.5, "3*": 0.25}, lock=("it's one",), criterion="taylor", seed=3),
    Recipe(target_macs=1 / 3, target_bytes="5MB", align="auto", scope="global", unlock=("6",), min_channels=2),
    Recipe(threshold=1e-7, layer_align={"0": 8}, max_ratio=0.75, heads="whole", grouped="even", residual="keep"),
]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A session in which something was chosen and recovered."""
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "task.py").write_text(TASK)
    opened = Session.open(f"{tmp_path / 'net.py'}:make", input_spec="1,3,8,8", task=tmp_path / "task.py", probing=False)
    opened.set_ratio(0.5)
    opened.set_ratio(0.25, "3")
    opened.recover(reconstruct=True, recalibrate=False)
    return opened


def log_of(session: Session, output: Path) -> CommandLog:
    assert session.request is not None
    assert session.recovered is not None
    return command_log(session.request, session.recipe, session.recovered.report.recovered, output)


def typed(log: CommandLog) -> list[str]:
    """The words of the command as a shell reads them."""
    return shlex.split(log.command.replace("\\\n", " "))


def weights(path: Path) -> dict[str, torch.Tensor]:
    return dict(read_checkpoint(path).tensors)


def assert_same(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0)


def test_the_command_and_the_lines_of_python_give_the_file_again(session: Session, tmp_path: Path) -> None:
    saved = session.save(tmp_path / "saved.pt")
    log = log_of(session, tmp_path / "again.pt")
    program, *arguments = typed(log)
    assert (program, tuple(arguments)) == ("tui-prune", log.arguments)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert_same(saved, tmp_path / "again.pt")
    exec(compile(log_of(session, tmp_path / "python.pt").python, "log", "exec"), {})
    assert_same(saved, tmp_path / "python.pt")


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_field_comes_back_from_the_command_and_from_the_file(recipe: Recipe, tmp_path: Path) -> None:
    log = command_log(OpenRequest(), recipe, (), Path("out.pt"))
    context = typer.main.get_command(app).commands["prune"].make_context("prune", typed(log)[2:])
    chosen = {field.name: context.params[field.name] for field in fields.FIELDS}
    assert options.recipe_from(None, chosen) == recipe
    (tmp_path / "recipe.toml").write_text(log.toml)
    assert Recipe.from_toml(tmp_path / "recipe.toml") == recipe


def test_what_was_opened_is_in_the_command_and_a_task_that_is_there_anyway_is_not(tmp_path: Path) -> None:
    request = OpenRequest("resnet18", "w.pth", "1,3,64,64", "imagefolder:pets", "cuda")
    log = command_log(request, Recipe(ratio=0.5), (), Path("out.pt"))
    assert log.command.startswith("tui-prune prune resnet18 \\\n    --weights w.pth \\\n    --input")
    assert typed(log)[1:11] == [
        *("prune", "resnet18", "--weights", "w.pth", "--input", "1,3,64,64"),
        *("--task", "imagefolder:pets", "--device", "cuda"),
    ]
    bundled = replace(OpenRequest(), task=str(bundled_task("nin")))
    assert command_log(bundled, Recipe(ratio=0.5), ("reconstructed",), Path("out.pt")).command == (
        "tui-prune prune nin --ratio 0.5 --reconstruct -o out.pt"
    )


@pytest.mark.parametrize(
    ("recovered", "flags", "said"),
    [
        (("reconstructed",), ["--reconstruct"], ""),
        (("reconstructed", "fine-tuned", "recalibrated"), ["--reconstruct", "--finetune"], "deterministic"),
        (("recalibrated", "fine-tuned"), ["--recalibrate", "--finetune"], "deterministic"),
        (("fine-tuned", "reconstructed"), ["--reconstruct", "--finetune"], "in several runs"),
    ],
)
def test_recovery_is_in_the_command_and_what_it_cannot_repeat_is_said(recovered, flags, said) -> None:
    log = command_log(OpenRequest(), Recipe(ratio=0.5), recovered, Path("out.pt"))
    assert [word for word in log.arguments if word in ("--reconstruct", "--recalibrate", "--finetune")] == flags
    assert said in " ".join(log.notes)


def test_a_file_that_is_there_is_not_replaced_unasked(session: Session, tmp_path: Path) -> None:
    log = log_of(session, session.save(tmp_path / "saved.pt"))
    assert "saved.pt exists, and is replaced only with --force." in log.notes
    assert "--force" not in log.arguments
