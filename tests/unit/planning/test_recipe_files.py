"""Recipes by path and by name: which file is meant, what is said when there is none, and that they are installed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torchvision.models import list_models
from typer.testing import CliRunner

import tui_prune
from tui_prune import models
from tui_prune.cli.main import app
from tui_prune.errors import UsageError
from tui_prune.planning.recipe_files import recipe_file, recipe_names

ROOT = Path(__file__).parents[3]


def prune(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["prune", *(str(argument) for argument in arguments)], prog_name="tui-prune")


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_called_by_its_network_and_says_what_it_does(name: str) -> None:
    assert name.partition("-")[0] in {*models.NETWORKS, *list_models()}
    first = recipe_file(name).read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith(".")
    assert tui_prune.Recipe.from_toml(name).ratio > 0


def test_a_name_means_the_bundled_recipe() -> None:
    assert tui_prune.Recipe.from_toml("resnet18-inside") == tui_prune.Recipe(
        ratio=0.5, criterion="bn_scale", residual="keep"
    )


def test_a_path_means_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("resnet18-inside", "resnet18-inside.toml", "mine"):
        Path(file).write_text("ratio = 0.25")
    for spec in ("./resnet18-inside", "resnet18-inside.toml", "mine", tmp_path / "resnet18-inside.toml"):
        assert tui_prune.Recipe.from_toml(spec) == tui_prune.Recipe(ratio=0.25)
    assert tui_prune.Recipe.from_toml("resnet18-inside").ratio == 0.5


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet18", "Did you mean resnet18-inside or resnet18-streams?"),
        ("resnet81-inside", "Did you mean resnet18-inside or resnet50-inside or se_resnet18-inside?"),
        ("qq", f"There are {', '.join(recipe_names())}."),
    ],
)
def test_a_name_that_means_nothing_gets_near_ones(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        tui_prune.Recipe.from_toml(name)
    assert str(raised.value) == f"There is no bundled recipe and no file called {name!r}. {hint}"


def test_the_command_line_takes_a_name(tmp_path: Path) -> None:
    done = prune("nin_pruned_half", "--recipe", "nin-half", "--ratio", "0.25", "-o", tmp_path / "out.pt", "--json")
    assert done.exit_code == 0, done.output
    recipe = json.loads(done.stdout)["recipe"]
    assert (recipe["ratio"], recipe["criterion"], recipe["scope"]) == (0.25, "bn_scale", "global")


def test_the_command_line_says_which_names_are_near(tmp_path: Path) -> None:
    done = prune("nin", "--recipe", "nin-hall", "-o", tmp_path / "out.pt")
    assert (done.exit_code, done.stdout) == (2, "")
    assert (
        done.stderr
        == "There is no bundled recipe and no file called 'nin-hall'. Did you mean nin-half or nin-half-aligned-8?\n"
    )


def test_an_installed_package_has_the_recipes(tmp_path: Path) -> None:
    """Built as it is for a wheel, away from this checkout."""
    build = "import setuptools; setuptools.setup()"
    arguments = ["-q", "egg_info", "--egg-base", tmp_path, "build", "--build-base", tmp_path, "--build-lib", tmp_path]
    subprocess.run([sys.executable, "-c", build, *map(str, arguments)], cwd=ROOT, check=True, timeout=300)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import tui_prune\n"
        "from tui_prune.planning.recipe_files import recipe_names\n"
        "print(tui_prune.__file__, *recipe_names(), tui_prune.Recipe.from_toml('nin-half').ratio)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == [str(tmp_path / "tui_prune" / "__init__.py"), *recipe_names(), "0.5"], done.stderr
