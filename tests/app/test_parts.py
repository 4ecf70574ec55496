"""The pure parts of the app: fitting words into a width, the outline of a model, reading answers."""

from dataclasses import dataclass

import pytest

from tui_prune.app.cells import Cell, changed_columns, left, right, tail, text_of, width_of, wrap
from tui_prune.app.columns import Column, Part, compose, fit
from tui_prune.app.headlines import Doing, Score, at_work, checked, doing, status, title
from tui_prune.app.jobs import JobKind
from tui_prune.app.outline import outline, rows
from tui_prune.app.repeats import globs
from tui_prune.errors import UsageError
from tui_prune.planning import answers
from tui_prune.planning.recipe import Recipe, matches
from tui_prune.session.session import Session
from tui_prune.tasks.evidence import Score as Evidence


@dataclass(frozen=True)
class Layer:
    name: str
    producer: bool = True
    kind: str = "conv 3x3"
    before: int = 8


def test_text_is_fitted_by_the_columns_that_it_takes():
    assert left("conv", 6) == "conv  "
    assert left("convolution", 6) == "convo…"
    assert right("50 %", 6) == "  50 %"
    assert tail("layer3.0.downsample.0", 10) == "…nsample.0"
    assert len(left("池化层", 5)) == 3
    assert width_of([Cell(left("池化层", 5))]) == 5
    assert width_of([Cell(tail("池化层", 4))]) == 4
    assert left("x", 0) == tail("x", 0) == ""


def test_words_are_broken_where_they_must_be():
    assert wrap("one two three", 7) == ["one two", "three"]
    assert wrap("abcdefghij", 4) == ["abcd", "efgh", "ij"]
    assert wrap("", 4) == []


def test_what_differs_between_two_lines():
    old = (Cell("abc"), Cell("def"), Cell("ghi"))
    assert changed_columns(old, old) is None
    assert changed_columns(old, (Cell("abc"), Cell("xyz"), Cell("ghi"))) == (3, 6)
    assert changed_columns(old, (Cell("abc"), Cell("def", "changed"), Cell("ghi"))) == (3, 6)
    assert changed_columns(old, (Cell("abc"), Cell("longer"), Cell("ghi"))) == (3, 12)
    assert changed_columns((), old) == (0, 9)


def test_columns_go_where_there_is_no_room_for_them():
    columns = (Column("name", 20, 0, least=5), Column("kind", 8, 2), Column("width", 9, 1))
    assert fit(columns, 50) == {"name": 20, "kind": 8, "width": 9}
    assert fit(columns, 30) == {"name": 11, "kind": 8, "width": 9}
    assert fit(columns, 20) == {"name": 10, "width": 9}
    assert fit(columns, 3) == {"name": 5}


def test_a_line_says_less_before_it_leaves_things_out():
    parts = [Part(0, ((Cell("a long name"),), (Cell("name"),))), Part(1, ((Cell("figures"),),)), Part(2, ((),))]
    assert text_of(compose(parts, 40)) == "a long name   figures"
    assert text_of(compose(parts, 15)) == "name   figures"
    assert text_of(compose(parts, 6)) == "name"
    assert text_of(compose(parts, 1)) == ""


def test_the_status_line_keeps_what_is_new_and_shortens_what_is_known():
    recipe = Recipe(ratio=0.5, align=8, align_rounding="up", layers={"a": 0.1}, lock=("b",), layer_align={"c": 4})
    assert text_of(status(recipe, (), 80)) == "cut 50 % · align 8 up · l2 · local · 1 own · 1 aligned · 1 locked"
    side = (Cell("something that has just been found"),)
    line = text_of(status(recipe, side, 78))
    assert line.endswith(side[0].text)
    assert line.startswith("cut 50 % · align 8 up · l2 · local ")
    assert len(line) == 78
    assert text_of(status(recipe, side, 60)).startswith("cut 50 % · align 8 up   ")
    assert text_of(status(recipe, side, 50)).startswith("cut 50 %   "), "how much is cut is the last to go"
    assert text_of(status(recipe, side, 30)) == side[0].text


def test_the_status_line_says_how_much_is_to_be_cut():
    assert text_of(status(Recipe(target_macs=0.5, align="auto"), (), 80)) == "macs to 50 % · align auto · l2 · local"
    recipe = Recipe(target_bytes="5MB", target_latency=0.6, scope="global")
    assert text_of(status(recipe, (), 80)) == "bytes to 5.00 MB · latency to 60 % · l2 · global"
    assert text_of(status(Recipe(threshold=0.01), (), 80)) == "scores from 0.01 · l2 · local"


def test_the_title_says_what_was_recovered_where_there_is_room():
    score = Score(0.986, 0.912, 0.979)
    said = {width: text_of(title("nin", None, None, score, False, width)) for width in (80, 34, 24)}
    assert said[80].endswith("accuracy 98.6 → 91.2 → 97.9 %")
    assert said[34].endswith("acc 98.6 → 91.2 → 97.9 %")
    assert said[24].endswith("acc 98.6 → 97.9 %")


def test_work_and_its_outcome_in_words():
    assert text_of(doing(Doing("saving", "verify", 0.5))).startswith("saving verify     ━━━━━╌╌╌╌╌  50 %")
    assert text_of(doing(at_work(JobKind.EVALUATING, "evaluate", 2.0))).startswith("evaluating ━━━━━━━━━━ 100 %")
    assert text_of(checked("exact", 3.2e-7)) == "proved · verified 3e-7"
    assert text_of(checked("structural", 0.0)) == "proved · verified, structural 0e+00"


def test_the_outline_shows_what_holds_channels_and_joins_single_children():
    modules = [
        ("", "Net"),
        ("stem", "Sequential"),
        ("stem.conv", "Conv2d"),
        ("stem.bn", "BatchNorm2d"),
        ("body", "Block"),
        ("body.a", "Conv2d"),
        ("body.b", "Conv2d"),
        ("relu", "ReLU"),
    ]
    layers = [Layer("stem.conv"), Layer("stem.bn", producer=False), Layer("body.b"), Layer("body.a"), Layer("bare.x")]
    root = outline("net", modules, layers)
    assert [(row.node.label, row.depth) for row in rows(root)] == [
        ("net", 0),
        ("stem.conv", 1),
        ("body", 1),
        ("a", 2),
        ("b", 2),
        ("bare.x", 1),
    ]
    assert root.layers == ("stem.conv", "body.b", "body.a", "bare.x")
    assert [row.node.patterns for row in rows(root)][1:3] == [("stem.conv",), ("body.*",)]
    everything = outline("net", modules, layers, everything=True)
    assert [row.node.label for row in rows(everything)][1:4] == ["stem", "conv", "bn"]
    assert [row.node.label for row in rows(root, frozenset({"body"}))][2:] == ["body", "bare.x"]
    assert [row.node.label for row in rows(root, frozenset({"body"}), "BODY.A")] == ["net", "body", "a"]
    assert [row.node.label for row in rows(root, needle="nothing")] == ["net"]


@pytest.mark.parametrize(("first", "last"), [(1, 5), (0, 9), (8, 14), (1, 498), (95, 105), (7, 1200), (120, 139)])
def test_repeated_blocks_are_meant_by_few_globs_and_nothing_else_is(first, last):
    labels = [f"layer{number}.branch" for number in range(2000)]
    made = globs("net[0].", labels[first : last + 1], labels)
    names = [f"net[0].{label}.conv" for label in labels] + ["net[0].layer", "net[0].layer1.other.conv", "layer1"]
    assert [name for name in names if any(matches(key, name) for key in made)] == names[first : last + 1]
    assert len(made) <= 2 * len(str(last))


def test_repeated_blocks_with_others_between_are_named_one_by_one():
    assert globs("", ["1", "3"], ["3", "2", "1"]) == ("1.*", "3.*")
    assert globs("a.", ["01", "02"], ["01", "02"]) == ("a.01.*", "a.02.*")


def test_an_outline_of_no_layers():
    assert [row.node.label for row in rows(outline("net", [("", "Net")], []))] == ["net"]


@pytest.mark.parametrize(
    ("text", "share"), [("0", 0.0), ("12.5", 0.125), ("99.9 %", 0.999), ("0.5%", 0.005), ("1%", 0.01)]
)
def test_shares(text, share):
    assert answers.share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", ".", "%", "-5", "1", "1.0.0", "100", "100%", "1e3", "half"])
def test_what_is_no_share(text):
    with pytest.raises(UsageError):
        answers.share(text)


def test_whole_numbers():
    assert answers.whole(" 8 ") == 8
    for text in ("0", "x", "", "2.5"):
        with pytest.raises(UsageError):
            answers.whole(text)
    assert [answers.said(ratio) for ratio in (0.5, 0.125, 0.0)] == ["50", "12.5", "0"]


def test_the_title_has_the_interval_of_the_latest_accuracy_and_none_of_what_is_not_measured(digits):
    measured = Evidence([True] * 98 + [False] * 2)
    plan = Session(digits, recipe=Recipe(ratio=0.5)).plan
    assert "accuracy 98.0 → ? " in text_of(title("nin", None, plan, Score(measured), False, 200)) + " "
    assert "±" not in text_of(title("nin", None, plan, Score(measured), False, 200))
    assert "98.0 → 98.0 % ±" in text_of(title("nin", None, plan, Score(measured, measured), False, 200))
