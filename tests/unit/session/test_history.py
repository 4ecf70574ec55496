"""What a session does with its choices: says them in words, goes back and forth, keeps some beside each other, and can
be taken up again in another session."""

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.small_nets import conv
from tui_prune import Recipe, TuiPruneError, UsageError
from tui_prune.errors import Cancelled
from tui_prune.loading.open_model import open_model
from tui_prune.loading.opened import OpenedModel
from tui_prune.planning.recipe_files import own_recipe_names, recipe_file, write_own_recipe
from tui_prune.session.presets import OWN, presets, tried
from tui_prune.session.session import Session
from tui_prune.session.shelf import Shelf
from tui_prune.session.words import in_words, what_changed
from tui_prune.tasks.task import Task, load_task


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for kind in ("CONFIG", "CACHE", "STATE", "DATA"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small_net() -> nn.Module:
    torch.manual_seed(0)
    norms = nn.BatchNorm2d(16), nn.BatchNorm2d(12)
    net = nn.Sequential(conv(3, 16), norms[0], nn.ReLU(), conv(16, 12), norms[1], nn.ReLU(), conv(12, 4))
    for norm in norms:
        nn.init.uniform_(norm.weight)
    return net.eval()


@pytest.fixture
def opened() -> OpenedModel:
    return open_model(model=small_net(), input_spec="1,3,8,8")


@pytest.fixture
def session(opened: OpenedModel) -> Session:
    return Session(opened, probing=False)


# One identity: the order of globs is part of a recipe.

GLOBS = ({"*": 0.25, "0": 0.5, "3*": 0.5}, {"*": 0.25, "3*": 0.5, "0": 0.5}, {"3*": 0.5, "0": 0.5, "*": 0.25})


def test_recipes_are_equal_where_their_globs_come_in_the_same_order() -> None:
    recipes = [Recipe(layers=layers) for layers in GLOBS]
    assert len({recipe.key for recipe in recipes}) == len(set(recipes)) == 3
    assert recipes[0] == Recipe(layers=GLOBS[0], ratio=0)
    assert recipes[0] != recipes[2]
    assert Recipe(layer_align={"a": 2, "*": 4}) != Recipe(layer_align={"*": 4, "a": 2})
    for recipe in recipes:
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_a_recipe_file_keeps_the_order_of_globs(tmp_path: Path) -> None:
    for layers in GLOBS:
        recipe = Recipe(layers=layers, layer_align=dict.fromkeys(layers, 2))
        (tmp_path / "recipe.toml").write_text(recipe.to_toml())
        assert Recipe.from_toml(tmp_path / "recipe.toml") == recipe


def test_another_order_of_globs_is_another_choice(session: Session) -> None:
    first, other = ({"0*": 0.5, "*": 0.25}, {"*": 0.25, "0*": 0.5})
    plans = [session.apply(Recipe(layers=layers)) for layers in (first, other)]
    widths = [[layer.after for layer in plan.layers if layer.name in "03"] for plan in plans]
    assert widths == [[12, 9], [8, 9]]
    assert session.undo().recipe.layers == first
    assert [layer.after for layer in session.plan.layers if layer.name in "03"] == widths[0]
    session.redo()
    assert [layer.after for layer in session.plan.layers if layer.name in "03"] == widths[1]
    assert session.steps[-1].words == "ratios in another order"
    session.keep_plan("one")
    session.undo()
    session.keep_plan("other")
    again = Session(session.opened, probing=False)
    again.restore(json.loads(json.dumps(session.state())))
    assert [step.recipe for step in again.steps] == [step.recipe for step in session.steps]
    assert [list(kept.recipe.layers) for kept in again.shelf.plans] == [list(other), list(first)]
    cut = [again.go_to(place) and again.result().model[0].out_channels for place in (1, 2)]
    assert cut == [12, 8]


# Words.

CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "ratio": ({"ratio": 0.5}, "global ratio 50 %"),
    "layers": ({"layers": {"layer1.0.conv1": 0.5}}, "ratio of layer1.0.conv1 50 %"),
    "threshold": ({"threshold": 0.25}, "threshold 0.25"),
    "target_macs": ({"target_macs": 0.5}, "MACs to 50 %"),
    "target_params": ({"target_params": 0.25}, "parameters to 25 %"),
    "target_bytes": ({"target_bytes": 5_000_000}, "bytes to 5.00 MB"),
    "target_latency": ({"target_latency": 0.6}, "latency to 60 %"),
    "min_channels": ({"min_channels": 4}, "at least 4 channels each"),
    "max_ratio": ({"max_ratio": 0.8}, "at most 80 % of a layer"),
    "align": ({"align": 8}, "align 8"),
    "layer_align": ({"layer_align": {"conv1": 16}}, "alignment of conv1 16"),
    "align_rounding": ({"align_rounding": "up"}, "rounded up"),
    "criterion": ({"criterion": "bn_scale"}, "criterion bn_scale"),
    "combine": ({"combine": "max"}, "scores combined: max"),
    "normalise": ({"normalise": "mean"}, "scores normalised: mean"),
    "scope": ({"scope": "global"}, "ranked all together"),
    "lock": ({"lock": ("fc",)}, "lock fc"),
    "unlock": ({"unlock": ("fc",)}, "lift the lock of fc"),
    "residual": ({"residual": "keep"}, "residual streams stay"),
    "grouped": ({"grouped": "whole"}, "grouped layers cut: whole"),
    "heads": ({"heads": "whole"}, "attention heads cut: whole"),
    "seed": ({"seed": 3}, "seed 3"),
}


def test_every_field_of_a_recipe_has_words() -> None:
    """A field that is added needs words of its own, and a line above."""
    assert set(CHANGES) == {field.name for field in fields(Recipe)}


@pytest.mark.parametrize("field", CHANGES)
def test_what_has_changed_is_said(field: str) -> None:
    change, words = CHANGES[field]
    assert what_changed(Recipe(), Recipe(**change)) == words
    back = what_changed(Recipe(**change), Recipe())
    assert back
    assert back != words
    assert what_changed(Recipe(**change), Recipe(**change)) == ""


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"ratio": 0.5}, {"ratio": 0.0}, "global ratio 0 %"),
        ({"threshold": 0.3}, {"ratio": 0.5}, "global ratio 50 %"),
        ({"ratio": 0.5}, {"target_macs": 0.5}, "MACs to 50 %"),
        ({"target_macs": 0.5}, {"threshold": 0.5}, "threshold 0.5"),
        ({"target_macs": 0.5}, {}, "no target of MACs"),
        ({"target_macs": 0.5}, {"target_macs": 0.5, "target_params": 0.5}, "parameters to 50 %"),
        ({"layers": {"a": 0.5, "b": 0.25}}, {"layers": {"b": 0.5}}, "ratio of b 50 %, no ratio of a"),
        ({}, {"layers": dict.fromkeys("abc", 0.5)}, "ratio of 3 layers 50 %"),
        ({}, {"layers": {"a": 0.1, "b": 0.2, "c": 0.3}}, "ratios of 3 layers"),
        ({"lock": ("a", "b")}, {"lock": ("b", "c")}, "lock c, unlock a"),
        ({"lock": ("a",)}, {}, "unlock a"),
        ({}, {"ratio": 0.125, "align": 8, "scope": "global"}, "global ratio 12.5 %, ranked all together, align 8"),
    ],
)
def test_several_changes_are_said_in_one_line(before: dict[str, Any], after: dict[str, Any], words: str) -> None:
    assert what_changed(Recipe(**before), Recipe(**after)) == words


def test_a_recipe_is_said_as_what_it_chooses() -> None:
    assert in_words(Recipe()) == "nothing is cut"
    assert in_words(Recipe(ratio=0.5, align=8)) == "global ratio 50 %, align 8"


def test_names_are_counted_where_there_is_no_room_for_them() -> None:
    recipe = Recipe(ratio=0.5, layers={"a.long.name": 0.25, "another": 0.5}, layer_align={"b": 8}, lock=("c", "d"))
    whole = "global ratio 50 %, ratio of a.long.name 25 %, ratio of another 50 %, alignment of b 8, lock c and d"
    assert in_words(recipe) == in_words(recipe, len(whole)) == whole
    assert in_words(recipe, len(whole) - 1) == (
        "global ratio 50 %, ratios of 2 layers, alignment of 1 layer 8, lock 2 layers"
    )


# Steps.


def test_steps_are_listed_and_any_can_be_gone_to(session: Session) -> None:
    session.set_ratio(0.5)
    session.apply(session.recipe.changed(scope="global"))
    session.set_alignment(4)
    assert [step.words for step in session.steps] == [
        "as opened",
        "global ratio 50 %",
        "ranked all together",
        "align 4",
    ]
    assert session.place == 3
    assert session.go_to(1).recipe == Recipe(ratio=0.5)
    assert session.place == 1
    assert len(session.steps) == 4, "steps that were taken later are still there"
    assert session.redo().recipe == Recipe(ratio=0.5, scope="global")
    for nowhere in (-1, 4):
        with pytest.raises(UsageError, match="no step"):
            session.go_to(nowhere)
    assert session.place == 2


def test_cost_of_a_recipe_is_that_of_its_plan_and_changes_nothing(session: Session) -> None:
    recipe = Recipe(ratio=0.5)
    assert session.cost(recipe) == session.preview(recipe).after
    assert session.recipe == Recipe()
    assert session.cost(Recipe(layers={"missing": 0.5})) is None
    assert session.cost(Recipe(criterion="taylor", ratio=0.5)) is None, "that needs data"


# Named plans.


def test_plans_are_kept_renamed_and_dropped(session: Session) -> None:
    session.set_ratio(0.5)
    assert session.shelf.free_name == "plan 1"
    session.keep_plan("half")
    session.set_ratio(0.25)
    session.keep_plan(session.shelf.free_name)
    assert [(plan.name, plan.recipe.ratio) for plan in session.shelf.plans] == [("half", 0.5), ("plan 2", 0.25)]
    with pytest.raises(UsageError, match=r"kept already, as plan 2\."):
        session.keep_plan("again")
    session.rename_plan("plan 2", "  a  quarter ")
    with pytest.raises(UsageError, match="called half already"):
        session.rename_plan("a quarter", "half")
    for wrong in ("", "x" * 41, "a\nb\x00"):
        with pytest.raises(UsageError, match="Type a name"):
            session.rename_plan("a quarter", wrong)
    session.drop_plan("half")
    assert [plan.name for plan in session.shelf.plans] == ["a quarter"]


def test_plans_are_evaluated_once_and_what_was_found_stays_with_the_recipe(opened: OpenedModel) -> None:
    widths = []

    def evaluate(model: nn.Module) -> float:
        widths.append(model[0].out_channels)
        return model[0].out_channels / 16

    session = Session(opened, task=Task(None, evaluate), probing=False)
    recipes = [Recipe(ratio=0.5), Recipe(ratio=0.25)]
    session.evaluate_plans(recipes)
    assert widths == [16, 8, 12]
    assert [session.figures(recipe).accuracy for recipe in (Recipe(), *recipes)] == [1.0, 0.5, 0.75]
    assert session.figures(recipes[0]).cost == session.cost(recipes[0])
    session.evaluate_plans(recipes)
    assert len(widths) == 3
    assert session.recipe == Recipe()
    session.apply(Recipe(ratio=0.75))
    session.evaluate()
    assert session.figures(Recipe(ratio=0.75)).accuracy == 0.25
    assert session.figures(Recipe(ratio=0.1)).accuracy is None


def test_evaluating_others_leaves_the_present_cut_alone(opened: OpenedModel) -> None:
    session = Session(opened, task=Task(None, lambda model: 0.5), probing=False)
    session.set_ratio(0.5)
    result = session.cut()
    session.evaluate_plans([Recipe(ratio=0.25)])
    session.time_plans([Recipe(ratio=0.25)])
    assert session.cut() is result


def test_what_was_measured_before_it_was_stopped_stays(opened: OpenedModel) -> None:
    session = Session(opened, task=Task(None, lambda model: 0.5), probing=False)
    recipes = [Recipe(ratio=0.5), Recipe(ratio=0.25)]

    def progress(stage: str, done: float) -> None:
        if session.figures(recipes[0]).accuracy is not None:
            raise Cancelled

    with pytest.raises(Cancelled):
        session.evaluate_plans(recipes, progress)
    assert session.figures(recipes[0]).accuracy == 0.5
    assert session.figures(recipes[1]).accuracy is None


def test_another_task_is_asked_anew(tmp_path: Path) -> None:
    def opened() -> Session:
        return Session(open_model(model=small_net(), input_spec="1,3,8,8"), task=first, probing=False)

    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    first, second = load_task(task_file(tmp_path / "a", 0.5)), load_task(task_file(tmp_path / "b", 0.75))
    half = Recipe(ratio=0.5)
    session = opened()
    session.apply(half)
    session.evaluate_plans([half])
    assert session.figures(half).accuracy == 0.5
    session.set_task(second)
    assert session.figures(half).accuracy is None
    session.evaluate_plans([half])
    assert session.figures(half).accuracy == 0.75
    taken_up = opened()
    taken_up.set_task(second)
    taken_up.restore(json.loads(json.dumps(session.state())))
    assert taken_up.figures(half).accuracy == 0.75


def test_plans_are_timed_beside_the_uncut_network(session: Session) -> None:
    recipe = Recipe(ratio=0.5)
    session.time_plans([Recipe(), recipe])
    found = session.figures(recipe)
    assert found.latency is not None and found.latency > 0
    assert found.uncut_latency is not None and found.uncut_latency > 0
    assert session.figures(Recipe()).latency == found.uncut_latency


def test_plans_cannot_be_evaluated_without_a_task(session: Session) -> None:
    with pytest.raises(TuiPruneError, match="no task"):
        session.evaluate_plans([Recipe(ratio=0.5)])


# Taking it up again.


def task_file(folder: Path, score: float = 0.5) -> Path:
    file = folder / "task.py"
    file.write_text(f"def evaluate(model):\n    return {score}\n", encoding="utf-8")
    return file


def test_a_session_is_taken_up_again_as_it_was(tmp_path: Path) -> None:
    file = task_file(tmp_path)
    first = Session.open(model=small_net(), input_spec="1,3,8,8", task=file)
    first.set_ratio(0.5)
    first.set_ratio(0.25, "0")
    first.keep_plan("mine")
    first.toggle_lock("3")
    first.set_alignment(4)
    first.undo()
    first.evaluate_plans([Recipe(ratio=0.5)])
    first.time_plans([Recipe(ratio=0.5)])
    state = json.loads(json.dumps(first.state()))

    second = Session.open(model=small_net(), input_spec="1,3,8,8", task=file)
    second.restore(state)
    assert second.steps == first.steps
    assert second.place == first.place
    assert second.shelf == first.shelf
    assert (second.plan.keep == first.plan.keep).all()
    assert second.figures(Recipe(ratio=0.5)) == first.figures(Recipe(ratio=0.5))
    assert second.dirty
    assert second.redo().recipe == first.redo().recipe
    assert second.state() == first.state()


def test_what_was_measured_holds_only_for_the_same_weights_and_task(tmp_path: Path) -> None:
    file = task_file(tmp_path)
    first = Session.open(model=small_net(), input_spec="1,3,8,8", task=file)
    half = Recipe(ratio=0.5)
    first.evaluate_plans([half])
    first.time_plans([half])
    state = json.loads(json.dumps(first.state()))

    other = small_net()
    nn.init.ones_(other[0].weight)
    second = Session.open(model=other, input_spec="1,3,8,8", task=file)
    second.restore(state)
    assert second.figures(half).accuracy is None
    assert second.figures(half).latency is None

    task_file(tmp_path, 0.75)
    third = Session.open(model=small_net(), input_spec="1,3,8,8", task=file)
    third.restore(state)
    assert third.figures(half).accuracy is None
    assert third.figures(half).latency == first.figures(half).latency


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 99},
        {"history": []},
        {"history": "all"},
        {"history": [1]},
        {"history": [{"rato": 0.5}]},
        {"history": [{"layers": {"missing": 0.5}}]},
        {"history": [{"ratio": 0.5}, {"lock": ["missing"]}]},
        {"place": 7},
        {"place": -1},
        {"place": "0"},
        {"plans": [{"name": "x"}]},
        {"plans": 3},
        {"plans": [{"name": 3, "recipe": {}}]},
        {"plans": [{"name": "x", "recipe": {"layers": {"missing": 0.5}}}]},
        {"figures": {"by": {}, "of": {"x": {"accuracy": "good"}}}},
        {"figures": 3},
    ],
    ids=str,
)
def test_a_state_that_does_not_fit_changes_nothing(session: Session, changes: dict[str, Any]) -> None:
    session.set_ratio(0.5)
    session.keep_plan("mine")
    before = session.state()
    with pytest.raises(UsageError):
        session.restore({**before, **changes})
    assert session.state() == before
    assert session.plan.recipe == Recipe(ratio=0.5)


class Particular(nn.Module):
    """Its code wants eight channels, which only a cut shows."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = conv(3, 8), conv(8, 8), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.second(torch.relu(self.first(x)))
        if x.shape[1] != 8:
            raise ValueError("eight, please")
        return self.head(x.mean((2, 3)))


def test_a_cut_that_is_stopped_leaves_the_plan_as_it_was() -> None:
    def stop(stage: str, done: float) -> None:
        if stage == "verify":
            raise Cancelled

    session = Session(open_model(model=Particular().eval(), input_spec="1,3,8,8"), probing=False)
    plan = session.set_ratio(0.5)
    with pytest.raises(Cancelled):
        session.cut(stop)
    assert session.plan is plan
    session.cut()
    assert session.plan.layer("second").after == 8, "what the cut has found is in the plan once it is through"


def test_a_shelf_comes_back_from_plain_values() -> None:
    shelf = Shelf().with_plan("a", Recipe(ratio=0.5)).with_plan("b", Recipe(layers={"x": 0.25}, lock=("y",)))
    assert Shelf.from_list(json.loads(json.dumps(shelf.to_list()))) == shelf


# Presets.


def test_presets_are_the_networks_own_then_general_ones_then_the_users() -> None:
    session = Session(open_model("resnet18", input_spec="1,3,64,64"), probing=False)
    write_own_recipe("my half", Recipe(ratio=0.5).to_toml())
    found = presets(session)
    assert [preset.name for preset in found[:2]] == ["resnet18-inside", "resnet18-streams"]
    assert found[0].words.startswith("Only inside the blocks")
    assert found[-1].name == "my half"
    assert found[-1].kind == OWN
    assert found[-1].words == "global ratio 50 %"
    for preset in found:
        there = tried(session, preset)
        assert not there.obstacle, there
        assert session.preview(there.recipe).cuts


def test_general_presets_keep_locks_and_criterion_and_clear_the_rest(session: Session) -> None:
    session.apply(Recipe(layers={"0": 0.75}, lock=("3",), criterion="l1", align=4))
    half = next(preset for preset in presets(session) if preset.name == "half of every layer")
    assert half.recipe == Recipe(ratio=0.5, lock=("3",), criterion="l1")


def test_presets_that_do_not_fit_say_why(tmp_path: Path) -> None:
    net = nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 4)).eval()
    session = Session(open_model(model=net, input_spec="1,3,8,8"), probing=False)
    write_own_recipe("other", Recipe(layers={"layer1.0.conv1": 0.5}).to_toml())
    write_own_recipe("by data", Recipe(ratio=0.5, criterion="taylor").to_toml())
    write_own_recipe("broken", "ratio: 1")
    found = {preset.name: tried(session, preset) for preset in presets(session)}
    assert "no batch norm" in found["half, ranked together"].obstacle
    assert "layer1.0.conv1" in found["other"].obstacle
    assert "calibration" in found["by data"].obstacle
    assert "is not TOML" in found["broken"].obstacle
    assert not found["half of every layer"].obstacle


def test_own_recipes_are_written_and_found_by_name() -> None:
    assert own_recipe_names() == ()
    file = write_own_recipe(" half.toml ", Recipe(ratio=0.5).to_toml())
    assert own_recipe_names() == ("half",)
    assert recipe_file("half") == file
    assert Recipe.from_toml("half") == Recipe(ratio=0.5)
    with pytest.raises(UsageError, match="already"):
        write_own_recipe("half", "")
    write_own_recipe("half", Recipe(ratio=0.25).to_toml(), replace=True)
    assert Recipe.from_toml("half") == Recipe(ratio=0.25)
    for wrong in ("", ".", "../half", "a/b", "nin-half"):
        with pytest.raises(UsageError):
            write_own_recipe(wrong, "")
    assert own_recipe_names() == ("half",)
