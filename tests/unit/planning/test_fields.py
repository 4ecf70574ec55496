"""The table of recipe fields: one more entry is an option, a row, a word of the history, a comment and a help line."""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import tui_prune
from tui_prune.app.cells import text_of
from tui_prune.app.widgets.recipe_pane import RecipePane
from tui_prune.cli import options
from tui_prune.guide import chapters
from tui_prune.planning.fields import FIELDS, Field, Option, documentation, with_comments
from tui_prune.planning.recipe import Recipe
from tui_prune.session.words import what_changed


@dataclass(frozen=True, eq=False)
class WiderRecipe(Recipe):
    """A recipe of a later version."""

    patience: int = 3


PATIENCE = Field(
    "patience",
    "patience",
    "so many tries",
    "So many tries are made",
    Option("--patience", "N", int),
    int,
    lambda before, after, many: f"patience {after}",
)
TABLE = (*FIELDS, PATIENCE)


def test_a_field_that_is_added_to_the_table_is_an_option_of_the_command_line() -> None:
    app, seen = typer.Typer(), []

    @app.command()
    @options.recipe_options(fields=TABLE)
    def cut(model: str, chosen: dict = {}) -> None:  # noqa: B006
        seen.append({name: value for name, value in chosen.items() if value is not None})

    runner = CliRunner()
    assert runner.invoke(app, ["net", "--patience", "7", "--layer", "a=0.5", "--layer", "b=1"]).exit_code == 0
    assert seen == [{"patience": "7", "layers": ["a=0.5", "b=1"]}]
    assert "So many tries are made." in runner.invoke(app, ["--help"]).output


def test_it_is_a_row_of_the_sheet() -> None:
    pane = RecipePane(TABLE)
    pane.tell(WiderRecipe(patience=5))
    row = " ".join(text_of(pane.row_cells(len(FIELDS), 78)).split())
    assert row == "• patience 5 so many tries"


def test_it_is_told_in_the_history() -> None:
    assert what_changed(WiderRecipe(), WiderRecipe(ratio=0.5, patience=5), fields=TABLE) == (
        "global ratio 50 %, patience 5"
    )


def test_it_has_a_comment_in_a_recipe_file_and_a_line_of_documentation() -> None:
    assert with_comments("patience = 5\n", TABLE) == "patience = 5  # so many tries are made\n"
    assert documentation(TABLE, WiderRecipe)[-1] == "patience: So many tries are made; by default 3."


def test_every_field_of_a_recipe_is_in_the_table_and_in_the_documentation_of_prune() -> None:
    names = {field.name for field in FIELDS}
    assert names == {field.name for field in dataclasses.fields(Recipe)}
    assert set(re.findall(r"^ +(\w+): .*; by default ", tui_prune.prune.__doc__ or "", re.MULTILINE)) == names


def test_a_recipe_file_says_what_its_fields_mean_and_reads_back(tmp_path: Path) -> None:
    recipe = Recipe(ratio=0.5, align="auto", layers={"conv1": 0.25, "layer1.*": 0}, lock=("a # b", "c"), grouped="even")
    text = recipe.to_toml()
    assert "[layers]  # ratio of a layer or a glob of layers" in text
    assert "lock = [  # a layer or a glob of layers that stays as it is" in text
    (tmp_path / "recipe.toml").write_text(text)
    assert Recipe.from_toml(tmp_path / "recipe.toml") == recipe


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"ratio": "half"}, "--ratio takes a number; it was 'half'."),
        ({"min_channels": "2.5"}, "--min-channels takes a whole number; it was '2.5'."),
        ({"layers": ["conv1"]}, "--layer takes NAME=R, such as 'layer1.*=0.25'; it was 'conv1'."),
        ({"align": "8x"}, "--align takes a whole number, or auto; it was '8x'."),
    ],
)
def test_wrong_options_say_what_they_take(given: dict, sentence: str) -> None:
    with pytest.raises(tui_prune.UsageError, match=re.escape(sentence)):
        options.recipe_from(None, given)


def test_the_written_documentation_names_every_field() -> None:
    said = "\n".join(chapter.text for chapter in chapters().values())
    block = next(text for text in re.findall(r"```toml\n(.*?)```", said, re.DOTALL) if "align_rounding" in text)
    written = set(re.findall(r"^\[?(\w+)", block, re.MULTILINE))
    others = {"threshold", "target_macs", "target_params", "target_bytes", "target_latency"}  # in place of a ratio
    assert {field.name for field in FIELDS} <= written | others
    assert all(f"`{name}`" in said or f"{name} =" in said for name in others)
