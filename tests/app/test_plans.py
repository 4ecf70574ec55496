"""Presets, the history as a list, plans side by side, the slider, and why a layer is as wide as it is."""

import threading
from pathlib import Path

import pytest
from textual.widgets import Input

from tests.app.walker import key_event
from tui_prune import Recipe
from tui_prune.app.cells import text_of
from tui_prune.app.screens.list_dialog import ListDialog
from tui_prune.app.screens.main import MainScreen
from tui_prune.app.widgets.choice_list import ChoiceList
from tui_prune.app.widgets.one_line import OneLine
from tui_prune.formatting import count
from tui_prune.loading.open_model import open_model
from tui_prune.planning.reasons import width_reason
from tui_prune.planning.recipe_files import own_recipe_folder, write_own_recipe
from tui_prune.tasks.task import Task


def dialog(desk) -> ListDialog:
    assert isinstance(desk.app.screen, ListDialog)
    return desk.app.screen


def rows(desk) -> list[str]:
    """What the rows of the open dialog say."""
    found = dialog(desk).query_one(ChoiceList)
    return [" ".join(text_of(found.row_cells(index, found.room - 1)).split()) for index in range(found.row_count())]


def said(desk) -> str:
    return " / ".join(text_of(dialog(desk).query_one(f"#{name}", OneLine).line) for name in ("said", "figures"))


# The slider.


async def test_arrows_move_the_ratio_and_the_plan_follows(start):
    async with start() as desk:
        await desk.press("g", "up", "up")
        assert desk.screen.prompt.field.value == "2"
        await desk.press("pageup", "pageup", "down")
        assert desk.screen.prompt.field.value == "21"
        assert "21 %" in desk.effect
        assert "━" in desk.effect
        assert desk.screen.plan.recipe.ratio == 0.21
        assert desk.session.recipe.ratio == 0
        await desk.press("enter")
        assert desk.session.recipe.ratio == 0.21
        await desk.go_to("tnn_bin.0")
        await desk.press("r", "pageup", "enter")
        assert desk.session.recipe.layers == {"tnn_bin.0": 0.31}


async def test_the_slider_ends_at_nothing_and_at_99(start):
    async with start() as desk:
        await desk.press("g", "down")
        assert desk.screen.prompt.field.value == "0"
        await desk.press("up")
        assert desk.screen.plan.recipe.ratio == 0.01, "one per cent, not all of it"
        await desk.type("12.5")
        await desk.press("up")
        assert desk.screen.prompt.field.value == "13"
        await desk.press(*["pageup"] * 12)
        assert desk.screen.prompt.field.value == "99"
        assert desk.screen.plan.recipe.ratio == 0.99
        await desk.press(*["pagedown"] * 12)
        assert desk.screen.prompt.field.value == "0"
        await desk.type("many")
        assert "Type a share" in desk.effect
        await desk.press("up", "escape")
        assert desk.session.recipe == Recipe()


async def test_a_longer_bar_means_a_larger_ratio_and_other_questions_have_none(start):
    async with start(size=(80, 24)) as desk:
        lengths = []
        for text in ("1 %", "25", "50", "99"):
            await desk.press("g")
            await desk.type(text)
            lengths.append(desk.effect.count("━"))
            assert "MACs" in desk.effect
            await desk.press("escape")
        assert lengths == sorted(set(lengths))
        await desk.press("a", "8")
        assert "╌" not in desk.effect


async def test_what_is_typed_after_enter_does_not_change_the_answer(start):
    """Over a slow line several keys come at once."""
    async with start() as desk:
        await desk.press("g", "5", "0")
        field = desk.screen.prompt.field
        field.post_message(Input.Submitted(field, "50"))
        field.value = "o"
        await desk.pilot.pause()
        assert desk.session.recipe.ratio == 0.5


# History.


async def test_history_is_walked_with_a_preview_and_entered(start):
    async with start(size=(80, 24)) as desk:
        await desk.press("g", "5", "0", "enter", "o", "a", "8", "enter", "H")
        assert [row.split(" ")[0] for row in rows(desk)] == ["as", "global", "ranked", "●"]
        assert rows(desk)[1] == "global ratio 50 % 248k 26 % 59.3M 27 %"
        assert rows(desk)[3].startswith("● align 8")
        assert "in all: global ratio 50 %, ranked all together, align 8 / where you are" in said(desk)
        await desk.press("up", "up")
        assert "2 steps back" in said(desk)
        assert desk.screen.plan.recipe == Recipe(ratio=0.5)
        assert "248k" in desk.title, "what is behind shows it"
        assert desk.session.recipe.align == 8
        await desk.press("escape")
        assert desk.screen.plan is desk.session.plan
        assert desk.session.recipe.align == 8
        await desk.press("H", "home", "down", "enter")
        assert desk.session.recipe == Recipe(ratio=0.5)
        assert desk.session.can_redo
        await desk.press("U", "U")
        assert desk.session.recipe.align == 8


@pytest.mark.parametrize("last", ["escape", "enter"])
@pytest.mark.parametrize("dialog", ["H", "B"])
async def test_keys_that_come_at_once_leave_the_chosen_plan_on_the_screen(start, dialog, last):
    """The move was told after the key that closed the list, and its preview stayed."""
    async with start(size=(80, 24)) as desk:
        await desk.press("g", "5", "0", "enter", "o", dialog)
        for _ in range(3):
            for key in ("up", "down", "down", last):
                desk.app.post_message(key_event(key))
            await desk.pilot.pause()
            await desk.until(lambda: isinstance(desk.app.screen, MainScreen) and desk.screen.work.job is None)
            assert desk.screen.plan is desk.session.plan
            assert count(desk.session.plan.after.params) in desk.title
            await desk.press(dialog)


async def test_a_list_that_was_left_shows_nothing_more(start):
    """Presets are tried one after the other; the one under the cursor may have its turn when the list is gone."""
    async with start() as desk:
        await desk.press("B")
        left = dialog(desk)
        await desk.press("escape")
        left.preview(Recipe(ratio=0.5))
        assert desk.screen.plan is desk.session.plan


# Presets.


async def test_presets_preview_and_are_one_step(start):
    async with start(size=(80, 24)) as desk:
        await desk.press("B")
        await desk.until(lambda: "MACs" in desk.title and "→" in desk.title, "the preview")
        assert rows(desk)[0].startswith("nin-half nin")
        assert "batch-norm scales" in said(desk)
        names = [row.split(" any network")[0] for row in rows(desk)]
        await desk.press(*["down"] * names.index("half the MACs, by 16"))
        await desk.until(lambda: desk.screen.plan.recipe.align == 16, "the preview of another")
        assert desk.session.recipe == Recipe()
        await desk.press("enter")
        assert desk.session.recipe == Recipe(target_macs=0.5, align=16)
        assert desk.session.plan.after.macs <= 0.5 * desk.session.plan.before.macs
        await desk.press("u")
        assert desk.session.recipe == Recipe()
        assert not desk.session.can_undo


async def test_presets_left_alone_change_nothing(start):
    async with start() as desk:
        await desk.press("g", "3", "0", "enter", "B", "down", "down")
        await desk.press("escape")
        assert desk.session.recipe == Recipe(ratio=0.3)
        assert desk.screen.plan is desk.session.plan
        assert "30 %" in desk.status


async def test_presets_that_do_not_fit_say_why_and_are_not_taken(start):
    write_own_recipe("other", Recipe(layers={"layer1": 0.5}).to_toml())
    write_own_recipe("scored by data", Recipe(ratio=0.5, criterion="taylor").to_toml())
    async with start() as desk:
        await desk.press("B", "end")
        await desk.until(lambda: "calibration" in said(desk), "why not")
        await desk.press("enter")
        assert isinstance(desk.app.screen, ListDialog)
        await desk.press("up", "enter")
        assert "layer1" in said(desk)
        await desk.press("escape")
        assert desk.session.recipe == Recipe()


async def test_the_present_recipe_is_written_under_a_name(start):
    async with start() as desk:
        await desk.press("g", "5", "0", "enter", "B", "w")
        await desk.type("a/b")
        await desk.press("enter")
        assert "without slashes" in said(desk)
        await desk.type("mine")
        await desk.press("enter")
        written = (own_recipe_folder() / "mine.toml").read_text(encoding="utf-8")
        assert written.startswith("ratio = 0.5  # share of the channels")
        assert rows(desk)[-1].startswith("mine yours")
        await desk.press("escape", "g", "2", "5", "enter", "B", "w")
        await desk.type("mine")
        await desk.press("enter")
        assert "Enter again replaces it" in said(desk)
        await desk.press("enter")
        assert Recipe.from_toml("mine") == Recipe(ratio=0.25)
        await desk.press("w", "escape", "escape")
        assert not isinstance(desk.app.screen, ListDialog)


# Plans side by side.


async def test_plans_are_kept_and_gone_to(start):
    async with start(size=(80, 24)) as desk:
        await desk.press("g", "5", "0", "enter", "P")
        assert [row.split()[0] for row in rows(desk)] == ["as", "●"]
        assert "not kept yet" in said(desk)
        await desk.press("a")
        await desk.type("half")
        await desk.press("enter")
        assert rows(desk)[1].startswith("● half 248k 26 % 59.3M 27 %")
        await desk.press("a")
        assert "kept already, as half" in said(desk)
        await desk.press("escape", "plus", "P", "a", "enter")
        assert [plan.name for plan in desk.session.shelf.plans] == ["half", "plan 2"]
        await desk.press("home", "down", "enter")
        assert desk.session.recipe == Recipe(ratio=0.5)
        assert not isinstance(desk.app.screen, ListDialog)
        await desk.press("u")
        assert desk.session.recipe.ratio == 0.55, "one step back"
        await desk.press("P", "home", "enter")
        assert desk.session.recipe == Recipe()


async def test_plans_are_renamed_and_deleted(start):
    async with start() as desk:
        await desk.press("g", "5", "0", "enter", "P", "a", "enter", "r")
        await desk.type("half")
        await desk.press("enter")
        assert desk.session.shelf.plans[0].name == "half"
        await desk.press("home", "r")
        assert "Only a plan that was kept" in said(desk)
        await desk.press("d", "down", "d")
        assert "d again deletes half" in said(desk)
        await desk.press("up", "down", "d")
        assert desk.session.shelf.plans, "a move takes it back"
        await desk.press("d")
        assert not desk.session.shelf.plans
        assert desk.session.recipe == Recipe(ratio=0.5)


async def test_plans_are_evaluated_and_timed(start):
    task = Task(Path("task.py"), lambda model: sum(p.numel() for p in model.parameters()) / 1e6)
    async with start(task=task) as desk:
        await desk.until(lambda: desk.screen.work.job is None, "the first evaluation")
        await desk.press("g", "5", "0", "enter", "P", "a", "enter", "escape", "g", "2", "5", "enter", "P")
        assert rows(desk)[1].split()[7:9] == ["?", "?"] or "? ?" in rows(desk)[1]
        await desk.press("e")
        await desk.until(lambda: desk.screen.work.job is None, "the evaluations")
        assert "24.8 %" in rows(desk)[1]
        assert "97.0 %" in rows(desk)[0]
        await desk.press("e")
        assert "known already" in said(desk)
        await desk.press("b")
        await desk.until(lambda: desk.screen.work.job is None, "the latencies", 60)
        assert all("?" not in row for row in rows(desk)), rows(desk)
        assert "of the" in said(desk)
        await desk.press("escape")
        await desk.press("u", "g", "5", "0", "enter")
        assert "97.0 → 24.8 %" in desk.title, "it is remembered wherever the plan is shown"


async def test_measuring_plans_is_stopped_by_escape_and_the_dialog_stays(start):
    go_on, asked = threading.Event(), []

    def evaluate(model):
        asked.append(model)
        assert len(asked) == 1 or go_on.wait(20)
        return 0.5

    async with start(task=Task(Path("task.py"), evaluate)) as desk:
        await desk.until(lambda: desk.screen.work.job is None, "the first evaluation")
        await desk.press("g", "5", "0", "enter", "P", "e")
        await desk.until(lambda: len(asked) > 1, "the second")
        assert desk.screen.work.comparing
        await desk.press("escape")
        assert isinstance(desk.app.screen, ListDialog)
        assert "Stopped" in said(desk)
        assert desk.screen.work.job is None
        go_on.set()
        await desk.press("escape")
        assert not isinstance(desk.app.screen, ListDialog)


async def test_a_plan_that_fails_to_be_measured_says_why(start):
    def evaluate(model):
        if sum(p.numel() for p in model.parameters()) < 900_000:
            raise RuntimeError("no more power")
        return 0.5

    async with start(task=Task(Path("task.py"), evaluate)) as desk:
        await desk.until(lambda: desk.screen.work.job is None, "the first evaluation")
        await desk.press("g", "5", "0", "enter", "P", "e")
        await desk.until(lambda: "no more power" in said(desk), "the reason")


async def test_without_a_task_it_is_asked_for_and_the_plans_come_back(start):
    Path("half.py").write_text("def evaluate(model):\n    return 0.5\n")
    async with start() as desk:
        await desk.press("g", "5", "0", "enter", "P", "e")
        assert "task:" in desk.question
        await desk.type("half.py")
        await desk.press("enter")
        await desk.until(lambda: isinstance(desk.app.screen, ListDialog), "the plans")
        await desk.until(lambda: desk.screen.work.job is None, "the evaluation")
        await desk.press("e")
        await desk.until(lambda: all("50.0 %" in row for row in rows(desk)), "the accuracies")


async def test_a_question_for_a_task_that_is_given_up_leaves_all_as_it_was(start):
    async with start() as desk:
        await desk.press("g", "5", "0", "enter", "P", "up", "e", "escape")
        assert not desk.question
        assert desk.screen.plan is desk.session.plan
        await desk.press("j")
        assert desk.tree.cursor == 1


async def test_a_task_that_cannot_evaluate_says_so(start):
    async with start(task=Task(Path("task.py"), None, lambda: [])) as desk:
        await desk.press("P", "e")
        assert "task.py has no function evaluate(model)" in said(desk)


# Why.


async def test_why_is_answered_in_the_status_line_and_in_the_tab(start):
    async with start(size=(80, 24)) as desk:
        await desk.press("g", "5", "1", "enter", "a", "8", "enter", "W")
        assert "Move to a layer" in desk.status
        await desk.go_to("tnn_bin.2.conv")
        await desk.press("W")
        reason = "80, not 79: 51 % of 160 cut leaves 79; nearest multiple of 8"
        assert desk.status.endswith(reason)
        await desk.press("3")
        assert reason in desk.pane("channels")
        await desk.press("escape", "plus")
        assert "nearest multiple" not in desk.status, "another plan has other reasons"


async def test_why_is_short_enough_for_80_columns_or_says_where_all_of_it_is(start):
    opened = open_model("resnet18", input_spec="1,3,64,64")
    async with start(size=(80, 24), opened=opened) as desk:
        await desk.press("g", "5", "1", "enter", "a", "8", "enter", "full_stop")
        for path in ("layer3.0.conv1", "layer4.0.bn2"):
            await desk.go_to(path)
            await desk.press("W")
            whole = width_reason(desk.session.plan, path)
            assert desk.status.endswith(whole) or desk.status.endswith("(all of it: 3)")
            assert len(desk.status) <= 78


# Everywhere.


@pytest.mark.parametrize("key", ["H", "B", "P"])
async def test_dialogs_fit_any_screen_and_say_their_keys(start, key):
    async with start(size=(80, 24)) as desk:
        await desk.press("g", "5", "0", "enter", key)
        box = dialog(desk).query_one(".box")
        words = str(box.border_subtitle)
        assert "esc" in words
        assert len(words) <= 74
        assert box.region.bottom <= 22, "the status line stays in sight"
        assert box.region.y >= 1
        for size in ((40, 10), (200, 60), (20, 6), (80, 24)):
            await desk.pilot.resize_terminal(*size)
            await desk.pilot.pause()
        await desk.press("question_mark")
        assert not isinstance(desk.app.screen, ListDialog)
        await desk.press("escape", "escape")
        assert desk.app.focused is desk.tree


async def test_moving_in_a_list_repaints_only_what_differs(start):
    async with start(size=(80, 24)) as desk:
        await desk.press("g", "5", "0", "enter", "P", "a", "enter", "home")
        found = dialog(desk).query_one(ChoiceList)
        painted: list[int] = []
        render_line = type(found).render_line
        found.render_line = lambda y: painted.append(y) or render_line(found, y)
        await desk.press("down")
        assert set(painted) == {1, 2}
