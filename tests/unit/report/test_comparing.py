"""The comparison: both networks as PyTorch prints them, and the files that it can be kept in."""

import csv
import io
import json
from pathlib import Path

import pytest
import torch
from torch import nn

import tui_prune
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.planning.recipe import Recipe
from tui_prune.report.comparison import FORMS, export, export_text, markdown
from tui_prune.report.prints import aligned, changed_parts, prints, side_by_side
from tui_prune.report.two_plans import Beside
from tui_prune.saving.whole_file import TargetExistsError
from tui_prune.session.session import Session


def opened(name: str, **fields: object) -> Session:
    torch.set_num_threads(1)
    return Session.open(name, input_spec=None if name.startswith("nin") else "1,3,64,64", recipe=Recipe(**fields))


@pytest.fixture(scope="module")
def nin() -> Session:
    return opened("nin", ratio=0.5)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("nin", {"ratio": 0.5}),
        ("resnext50_32x4d", {"ratio": 0.5, "grouped": "whole"}),
        ("resnet18", {"ratio": 0.4, "align": 8, "unlock": ("fc",)}),
        ("mobilenet_v2", {"ratio": 0.5, "scope": "global"}),
        ("densenet121", {"ratio": 0.3}),
        ("shufflenet_v2_x1_0", {"ratio": 0.5}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_print_of_the_plan_is_that_of_the_network_that_is_really_cut(name: str, fields: dict[str, object]) -> None:
    session = opened(name, **fields)
    before = repr(session.opened.module)
    found = prints(session.plan)
    assert [row.before for row in found.rows] == before.split("\n")
    assert [row.after for row in found.rows] == repr(session.cut().model).split("\n")
    assert len(found.differences) > 10
    assert repr(session.opened.module) == before


def test_nothing_differs_where_nothing_is_cut() -> None:
    assert prints(opened("nin").plan).differences == ()


def test_each_line_knows_its_module(nin: Session) -> None:
    found = prints(nin.plan)
    modules = dict(nin.opened.module.named_modules())
    for row in found.rows:
        name = row.before.strip().partition(": ")[2].partition("(")[0]
        if name:
            assert type(modules[row.path]).__name__ == name
    closing = [row.path for row in found.rows if row.before == "    )"]
    assert closing[0] == "tnn_bin.2"


class Blocks(nn.Module):
    """Blocks in a row, which PyTorch prints as one while they are alike."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU()) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return x


def test_blocks_that_print_as_one_stand_beside_those_that_no_longer_do() -> None:
    graph = tui_prune.trace(Blocks(), torch.randn(1, 8, 4, 4))
    found = prints(tui_prune.plan(graph, layers={"blocks.0.0": 0.5}))
    assert "(0-2): 3 x Sequential" in "\n".join(row.before or "" for row in found.rows)
    assert [row.after for row in found.rows if row.after is not None] == repr(
        tui_prune.prune(Blocks(), torch.randn(1, 8, 4, 4), layers={"blocks.0.0": 0.5}).model
    ).split("\n")
    alone = {row.path for row in found.rows if row.before is None}
    assert alone == {f"blocks.{block}{part}" for block in (1, 2) for part in ("", ".0", ".1")}
    assert (found.rows[2].before.strip(), found.rows[2].after.strip()) == ("(0-2): 3 x Sequential(", "(0): Sequential(")


def test_what_only_the_cut_can_know_is_marked() -> None:
    class Hooked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.utils.weight_norm(nn.Conv2d(3, 8, 1))
            self.second = nn.Conv2d(8, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x))

    with pytest.warns(FutureWarning, match="weight_norm"):
        graph = tui_prune.trace(Hooked(), torch.randn(1, 3, 4, 4))
    found = prints(tui_prune.plan(graph, ratio=0.5))
    assert [row.path for row in found.rows if row.unsure] == ["first"]
    assert " ? " in side_by_side(found)


def test_a_network_whose_print_fails_says_so() -> None:
    class Shy(nn.Conv2d):
        def extra_repr(self) -> str:
            raise LookupError("not today")

    graph = tui_prune.trace(nn.Sequential(Shy(3, 8, 1), nn.Conv2d(8, 2, 1)), torch.randn(1, 3, 4, 4))
    with pytest.raises(TuiPruneError, match="not today"):
        prints(tui_prune.plan(graph, ratio=0.5))


def test_only_what_changed_in_a_line_is_marked() -> None:
    one, other = "(a): Conv2d(64, 64, bias=False)", "(a): Conv2d(32, 64, bias=False)"
    assert [text for text, differs in changed_parts(one, other) if differs] == ["64"]
    assert "".join(text for text, _ in changed_parts(one, other)) == one
    assert [text for text, differs in changed_parts("f(1)", "f(1, groups=2)") if differs] == []


def test_side_by_side_marks_the_lines_that_differ() -> None:
    text = side_by_side(aligned("N(\n  (a): C(2)\n)", "N(\n  (a): C(1)\n)"))
    assert text.splitlines() == ["N(          │ N(", "  (a): C(2) ≠   (a): C(1)", ")           │ )"]


def test_markdown_has_a_row_for_each_layer_and_the_sums(nin: Session) -> None:
    lines = markdown("nin", nin.plan).splitlines()
    assert lines[0] == "| layer | kind | width | params | MACs | bytes | cut |"
    assert lines[2].startswith("| `tnn_bin.0` | conv 5x5 | 192 → 96 | 14.6k → 7.30k |")
    assert "| 10 | " in lines[-2]
    assert "| locked |" in lines[-2]
    assert lines[-1].startswith("| **nin** |  |  | **970k → 248k** (26 %)")
    assert {line.count("|") for line in lines} == {8}


def test_markdown_of_two_plans_has_both_widths_and_both_sums(nin: Session) -> None:
    other = nin.preview(Recipe(ratio=0.5, layers={"tnn_bin.0": 0.25}))
    lines = markdown("nin", nin.plan, Beside("a|b", other)).splitlines()
    assert lines[0] == "| layer | kind | uncut | a\\|b | now | by | params | MACs |"
    assert lines[2].startswith("| `tnn_bin.0` | conv 5x5 | 192 | 144 | 96 | **−48** | 10.9k ≠ 7.30k |")
    assert lines[4].startswith("| `tnn_bin.3.conv` | conv 1x1 | 96 | 48 | 48 |  | 3.89k | ")
    assert lines[-2].startswith("| **nin**, a\\|b |  |  |  |  |  | **255k** (26 %)")
    assert lines[-1].startswith("| **nin**, now |  |  |  |  |  | **248k** (26 %)")
    assert {line.replace("\\|", "").count("|") for line in lines} == {9}


def test_names_with_marks_of_markdown_stay_one_cell() -> None:
    net = nn.Sequential()
    net.add_module("a|b", nn.Conv2d(3, 8, 1))
    net.add_module("c`d", nn.Conv2d(8, 2, 1))
    text = markdown("n*t", tui_prune.plan(tui_prune.trace(net, torch.randn(1, 3, 4, 4))))
    assert "| `a\\|b` |" in text
    assert "| c\\`d |" in text
    assert "**n\\*t**" in text


def test_each_suffix_is_its_own_form(nin: Session, tmp_path: Path) -> None:
    plan = nin.plan
    written = {form: export(tmp_path / f"plan{form}", "nin", plan).read_text() for form in FORMS}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"plan{form}" for form in FORMS)
    assert Recipe.from_toml(tmp_path / "plan.toml") == plan.recipe
    report = json.loads(written[".json"])
    assert report["params"] == {"before": plan.before.params, "after": plan.after.params}
    assert report["equivalence"] is None
    rows = list(csv.DictReader(io.StringIO(written[".csv"])))
    assert [row["layer"] for row in rows] == [layer.name for layer in plan.layers]
    assert (rows[0]["width_before"], rows[0]["width_after"]) == ("192", "96")
    assert sum(int(row["params_after"]) for row in rows) == plan.after.params
    assert written[".txt"].count(" ≠ ") == len(prints(plan).differences)
    assert written[".md"] == markdown("nin", plan)


def test_a_file_that_is_there_stays_unless_it_may_go(nin: Session, tmp_path: Path) -> None:
    path = tmp_path / "plan.md"
    path.write_text("precious")
    with pytest.raises(TargetExistsError):
        export(path, "nin", nin.plan)
    assert path.read_text() == "precious"
    export(path, "nin", nin.plan, force=True)
    assert path.read_text().startswith("| layer |")


@pytest.mark.parametrize("name", ["plan", "plan.docx", "plan.pt"])
def test_another_suffix_is_told_which_there_are(nin: Session, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"\.md, \.txt, \.csv, \.json, \.toml"):
        export(tmp_path / name, "nin", nin.plan)


def test_a_missing_folder_is_a_sentence(nin: Session, tmp_path: Path) -> None:
    with pytest.raises(TuiPruneError, match="there is no folder"):
        export(tmp_path / "nowhere" / "plan.md", "nin", nin.plan)


def test_the_report_of_a_cut_is_written_as_it_is(nin: Session) -> None:
    assert json.loads(export_text(".json", "nin", nin.plan, {"model": "mine"})) == {"model": "mine"}
