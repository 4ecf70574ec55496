"""Cutting to verify and evaluating: how far it is, how it ends, and that it can be stopped."""

import pytest

from tui_prune.errors import TuiPruneError
from tui_prune.session import Session


async def test_verifying_says_what_it_has_shown_until_the_plan_changes(start):
    async with start() as desk:
        await desk.press("g", "5", "0", "enter", "v")
        await desk.until(lambda: "verified" in desk.status, "the verification")
        assert "proved · verified" in desk.status
        await desk.press("plus")
        assert "verified" not in desk.status
        await desk.press("u")
        assert "verified" in desk.status


async def test_work_shows_how_far_it_is_and_escape_stops_it(start, slow):
    async with start(kind=slow) as desk:
        await desk.press("g", "5", "0", "enter", "v")
        await desk.until(lambda: "25 %" in desk.status, "the progress")
        assert "esc stops it" in desk.status
        await desk.press("j")
        assert desk.tree.cursor == 1
        await desk.press("escape")
        assert "stopped" in desk.status
        assert desk.screen.work.job is None
        desk.session.go_on.set()
        await desk.press("v")
        await desk.until(lambda: "verified" in desk.status, "the verification")


async def test_a_second_piece_of_work_waits_for_the_first(start, slow, half_right):
    async with start(kind=slow, task=half_right) as desk:
        await desk.until(lambda: "accuracy 50.0 %" in desk.title, "the first evaluation")
        await desk.press("g", "5", "0", "enter", "v", "e")
        await desk.until(lambda: "25 %" in desk.status, "the progress")
        assert "verifying" in desk.status
        desk.session.go_on.set()
        await desk.until(lambda: "50.0 → 50.0 %" in desk.title, "the second evaluation")
        assert "verified" in desk.status
        await desk.press("plus")
        assert "accuracy 50.0 → ?" in desk.title


@pytest.mark.parametrize(
    ("error", "words"),
    [(TuiPruneError("The cut network differs."), "! The cut network differs."), (KeyError("x"), "fault of tui-prune")],
    ids=["refused", "a fault"],
)
async def test_a_failure_is_said_and_loses_nothing(start, monkeypatch, error, words):
    def cut(self, progress):
        raise error

    monkeypatch.setattr(Session, "cut", cut)
    async with start() as desk:
        await desk.press("g", "5", "0", "enter", "v")
        await desk.until(lambda: words in desk.status, "the sentence")
        assert desk.session.recipe.ratio == 0.5


async def test_widths_that_the_code_fixes_are_shown_when_a_cut_has_found_them(start):
    class Finding(Session):
        """A session whose cut finds out that a layer has to stay."""

        def cut(self, progress=lambda stage, done: None):
            result = super().cut(progress)
            self._plan = self.preview(self.recipe.changed(lock=("tnn_bin.0",)))
            return result

    async with start(kind=Finding) as desk:
        await desk.press("g", "5", "0", "enter", "v")
        await desk.until(lambda: "fixes some widths" in desk.status, "the remark")
        assert desk.row("tnn_bin.0").endswith("locked")


async def test_work_that_ends_while_one_types_leaves_the_preview_alone(start, slow):
    async with start(kind=slow) as desk:
        await desk.press("g", "5", "0", "enter", "v", "g", "2", "5")
        assert "160 → 120" in desk.row("tnn_bin.2.conv")
        desk.session.go_on.set()
        await desk.until(lambda: desk.screen.work.job is None, "the end of the work")
        assert "160 → 120" in desk.row("tnn_bin.2.conv")
        await desk.press("escape")
        assert "160 → 80" in desk.row("tnn_bin.2.conv")
        assert "verified" in desk.status
