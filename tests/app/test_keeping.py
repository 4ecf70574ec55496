"""What was chosen is there when the network is opened again."""

import json
import threading
import time
from pathlib import Path

import pytest

from tui_prune.app import crashes
from tui_prune.app.app import PruneApp
from tui_prune.app.jobs import JobThread
from tui_prune.app.keeper import start_above
from tui_prune.app.screens.going_on import GoingOn
from tui_prune.app.screens.main import MainScreen
from tui_prune.errors import UsageError
from tui_prune.loading.request import OpenRequest
from tui_prune.planning.recipe import Recipe
from tui_prune.session.autosave import kept_work, recent, state_folder
from tui_prune.session.session import Session

REQUEST = OpenRequest("nin")


def said(dialog):
    return "\n".join("".join(cell.text for cell in line) for line in dialog.query_one("#words").lines)


async def leave(desk):
    """As a signal does it: nothing is asked."""
    desk.app.exit(return_code=143)
    await desk.pilot.pause()


async def answer(desk, key):
    assert isinstance(desk.app.screen, GoingOn)
    await desk.press(key)
    await desk.until(lambda: isinstance(desk.app.screen, MainScreen), "the main screen")


@pytest.fixture
async def worked(start):
    """Somebody has cut 50 %, aligned to 8, locked a layer and taken that back, and looks at the channels of a layer."""
    async with start() as desk:
        await desk.press("g", "5", "0", "enter", "a", "8", "enter", "j", "j", "j", "L", "u", "3")
        await leave(desk)
        return desk.session


async def test_nothing_is_offered_where_there_is_nothing(start):
    async with start() as desk:
        assert isinstance(desk.app.screen, MainScreen)
        await desk.press("j", "j", "3")
        await leave(desk)
    async with start() as desk:
        assert isinstance(desk.app.screen, MainScreen)
    (seen,) = recent()
    assert (seen.request, seen.title, seen.summary, seen.chosen) == (REQUEST, "nin", "nothing cut", False)


async def test_going_on(start, worked):
    async with start() as desk:
        dialog = desk.app.screen
        assert "You were here just now" in dialog.query_one(".box").border_title
        assert "cut 50 %, align 8" in said(dialog)
        assert "MACs 27 %" in said(dialog)
        assert "enter goes on with it, n starts anew" in dialog.query_one(".box").border_subtitle
        await answer(desk, "enter")
        assert desk.session.recipe == worked.recipe == Recipe(ratio=0.5, align=8)
        assert desk.session.plan.after == worked.plan.after
        assert "970k → 248k" in desk.title
        assert desk.tree.node.path == "tnn_bin.2.conv"
        assert desk.screen.tabs.active == "channels"
        assert "160 → 80" in desk.pane("channels")
        await desk.press("ctrl+r")
        assert desk.session.recipe.lock == ("tnn_bin.2.conv",)
        await desk.press("u", "u", "u")
        assert desk.session.recipe == Recipe()
        assert not desk.session.can_undo


async def test_going_on_that_waits_for_what_never_ends_can_be_given_up(start, worked):
    waiting, at_last = threading.Event(), threading.Event()

    class Stuck(Session):
        """A session whose preparation never ends, nor asks whether to go on."""

        def prepare(self, recipe, progress=lambda stage, done: None):
            if recipe != Recipe():
                waiting.set()
                at_last.wait()

    try:
        async with start(kind=Stuck) as desk:
            await desk.press("enter")
            await desk.until(waiting.is_set, "the preparation")
            await desk.press("escape")
            await answer(desk, "n")
            assert desk.session.recipe == Recipe()
            before = desk.session.state()
            at_last.set()
            await desk.until(lambda: not any(isinstance(one, JobThread) for one in threading.enumerate()), "its end")
            assert desk.session.state() == before
            assert "→" not in desk.title
    finally:
        at_last.set()


@pytest.mark.parametrize("key", ["n", "escape"])
async def test_starting_anew_loses_nothing(start, worked, key):
    async with start() as desk:
        await answer(desk, key)
        assert desk.session.recipe == Recipe()
        assert "→" not in desk.title
        await desk.press("u")
        assert desk.session.recipe == worked.recipe
        await leave(desk)


async def test_what_was_declined_is_offered_until_something_else_is_chosen(start, worked):
    async with start() as desk:
        await answer(desk, "n")
        await desk.press("j", "2")
        await leave(desk)
    async with start() as desk:
        assert "cut 50 %" in said(desk.app.screen)
        await answer(desk, "n")
        await desk.press("g", "3", "0", "enter")
        await leave(desk)
    async with start() as desk:
        assert "cut 30 %" in said(desk.app.screen)
        await answer(desk, "enter")
        await desk.press("u", "u")
        assert desk.session.recipe == worked.recipe


async def test_quitting_without_an_answer_changes_nothing(start, worked):
    (before,) = recent()
    async with start() as desk:
        await desk.press("q")
    assert desk.app.return_code == 0
    assert recent() == [before]


async def test_where_the_cursor_was_and_what_was_folded(start):
    async with start() as desk:
        await desk.press("plus", "full_stop", "j", "j", "j", "2")
        await desk.press("escape", "home", "j", "left")
        assert len(desk.tree.rows) == 2
        await leave(desk)
    async with start() as desk:
        await answer(desk, "enter")
        assert [row.node.path for row in desk.tree.rows] == ["", "tnn_bin"]
        assert desk.tree.cursor == 1
        assert desk.screen.tabs.active == "pictures"
        assert not desk.screen.in_details
        await desk.press("right")
        assert "tnn_bin.2.bn" in [row.node.path for row in desk.tree.rows]


async def test_what_was_saved_is_offered_too(start):
    async with start() as desk:
        await desk.press("g", "5", "0", "enter", "s", "enter")
        await desk.until(lambda: desk.app.screen.state == "done", "the file")
        await desk.press("escape", "q")
    assert desk.app.return_code == 0
    async with start() as desk:
        await answer(desk, "enter")
        assert desk.session.recipe.ratio == 0.5


async def test_choices_that_dont_fit_any_more(start, worked):
    (file,) = (state_folder() / "sessions").iterdir()
    content = json.loads(file.read_text())
    for recipe in (content["state"]["recipe"], *content["state"]["session"]["history"]):
        recipe["layers"] = {"gone": 0.5}
    file.write_text(json.dumps(content))
    async with start() as desk:
        dialog = desk.app.screen
        await desk.press("enter")
        await desk.until(lambda: "gone" in said(dialog), "the reason")
        assert "starts anew" in said(dialog)
        assert dialog.query_one(".box").border_subtitle == "enter starts anew"
        await desk.press("enter")
        assert desk.session.recipe == Recipe()
        await desk.press("plus")
        await leave(desk)
    assert kept_work(REQUEST).summary.startswith("cut 5 %")
    (aside,) = (state_folder() / "sessions").glob("*.old")
    assert "gone" in aside.read_text()


@pytest.mark.parametrize("state", [{}, {"history": []}, {"history": [{"ratio": 5}], "place": 0}, {"history": 3}])
async def test_choices_that_cant_be_read(start, worked, state):
    (file,) = (state_folder() / "sessions").iterdir()
    content = json.loads(file.read_text())
    content["state"]["session"] = state
    file.write_text(json.dumps(content))
    async with start() as desk:
        await desk.press("enter")
        await desk.until(lambda: "starts anew" in said(desk.app.screen), "the reason")
        await desk.press("escape")
        assert desk.session.recipe == Recipe()


class SlowToPrepare(Session):
    """A session that has to measure something before it can plan what was kept."""

    def prepare(self, recipe, progress=lambda stage, done: None):
        while recipe != Recipe():
            progress("measure", 0.5)
            time.sleep(0.01)


async def test_going_on_can_be_stopped(start, worked):
    async with start(kind=SlowToPrepare) as desk:
        dialog = desk.app.screen
        await desk.press("enter")
        await desk.until(lambda: "measure" in said(dialog), "the progress")
        await desk.press("escape")
        await desk.until(lambda: "If you start anew" in said(dialog), "the question")
        assert desk.session.recipe == Recipe()
        await answer(desk, "n")
        assert desk.session.recipe == Recipe()


async def test_a_recipe_of_the_command_line_wins(digits, worked):
    session = Session(digits, probing=False)
    wanted = Recipe(ratio=0.25)
    start_above(session, kept_work(REQUEST), wanted)
    app = PruneApp(lambda request, progress: session, REQUEST)
    async with app.run_test(size=(120, 36)) as pilot:
        while not isinstance(app.screen, MainScreen) or not app.screen.is_mounted:
            await pilot.pause(0.02)
        await pilot.pause()
        assert session.recipe == wanted
        assert "u brings back" in str(app.screen.query_one("#status").line)
        await pilot.press("u")
        assert session.recipe == worked.recipe


async def test_where_nothing_can_be_kept_the_app_goes_on(start):
    state_folder().parent.parent.mkdir(parents=True, exist_ok=True)
    state_folder().parent.write_text("a file where the folder should be")
    async with start() as desk:
        await desk.until(lambda: "not kept" in desk.status, "the remark")
        await desk.press("g", "5", "0", "enter")
        assert desk.session.recipe.ratio == 0.5
        assert "not kept" not in desk.status
        await desk.press("plus")
        await desk.press("q")
        assert "kept" not in said(desk.app.screen)
        await desk.press("escape")
        assert "not kept" not in desk.status
        await desk.press("q", "q")
    assert desk.app.return_code == 0


async def test_quitting_says_that_it_is_kept(start):
    async with start() as desk:
        await desk.press("plus", "q")
        assert "It is kept" in said(desk.app.screen)
        await desk.press("q")
    assert kept_work(REQUEST).summary.startswith("cut 5 %")


async def test_a_crash_keeps_the_choices(start, capsys):
    def crash():
        raise RuntimeError("fault")

    with pytest.raises(RuntimeError, match="fault"):
        async with start() as desk:
            await desk.press("g", "5", "0", "enter", "j", "j")
            desk.screen.action_other_half = crash
            await desk.press("tab")
    crashes.tell(desk.app.crash, kept=desk.app.keeper.kept)
    words = capsys.readouterr().err
    assert "Your choices are kept; open it again to go on." in words
    assert (Path(words.split("The report is ")[1].splitlines()[0])).is_file()
    work = kept_work(REQUEST)
    assert work.summary.startswith("cut 50 %")
    assert work.state["position"]["tree"]["cursor"] == "tnn_bin.0"


def test_a_state_that_doesnt_fit_changes_nothing(digits, resnet):
    session, other = Session(digits, probing=False), Session(resnet, probing=False)
    session.set_ratio(0.5)
    other.set_ratio(0.25, "layer1.0.conv1")
    plan = session.plan
    with pytest.raises(UsageError):
        session.restore(other.state())
    assert session.plan is plan
    assert session.recipe.ratio == 0.5
    assert session.can_undo
