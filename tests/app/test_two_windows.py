"""Two windows on one network: the second is told, and neither loses the other's choices in silence."""

import pytest

from tui_prune.app.screens.going_on import GoingOn
from tui_prune.app.screens.sharing import SharingDialog
from tui_prune.loading.request import OpenRequest
from tui_prune.session.autosave.claims import Claim
from tui_prune.session.autosave.places import sessions_folder
from tui_prune.session.autosave.saved_work import kept_copies, kept_work, recent

NIN = OpenRequest("nin")


async def look(desk) -> None:
    """What the app does once a second."""
    await desk.until(lambda: not desk.app.keeper._writer.pending, "the write")
    desk.app.keeper._look()
    await desk.pilot.pause()
    await desk.until(lambda: not desk.app.keeper._writer.pending, "the write")


@pytest.fixture(autouse=True)
def _looks_when_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_prune.app.keeper.LOOK", 3600.0)


async def test_joined_windows_show_the_same_choices_and_a_race_loses_none(start):
    async with start() as one:
        await one.press("plus")
        await look(one)
        async with start() as other:
            assert isinstance(other.app.screen, SharingDialog)
            await other.press("j")
            await other.until(lambda: other.app.screen is other.screen, "going on")
            assert other.session.recipe.ratio == 0.05
            await other.press("plus")
            await look(other)
            await look(one)
            assert one.session.recipe.ratio == 0.1
            assert "the other window: cut 10 %" in one.status
            await one.press("plus")
            await look(one)
            await other.press("minus")
            await look(other)
            assert other.session.recipe.ratio == 0.05
            assert "yours is the step after it" in other.status
            await other.press("u")
            assert other.session.recipe.ratio == 0.15


async def test_a_copy_is_kept_beside_and_offered_the_next_time(start):
    async with start() as one:
        await one.press("plus")
        await look(one)
        async with start() as other:
            await other.press("c")
            await other.until(lambda: other.app.screen is other.screen, "going on")
            await other.press("plus", "plus")
            await look(other)
        await look(one)
        assert one.session.recipe.ratio == 0.05
    assert len(recent()) == 1
    async with start() as third:
        dialog = third.app.screen
        assert isinstance(dialog, GoingOn)
        assert {work.summary.partition(",")[0] for work in dialog._works} == {"cut 5 %", "cut 15 %"}
        await third.press("c", "enter")
        await third.until(lambda: third.app.screen is third.screen, "going on")
        assert third.session.recipe.ratio == 0.15


async def test_who_is_taken_over_is_told_and_keeps_a_copy(start):
    async with start() as one:
        await one.press("plus")
        await look(one)
        async with start() as other:
            await other.press("t")
            await other.until(lambda: other.app.screen is other.screen, "going on")
            await other.press("plus")
            await look(other)
            await one.press("plus", "plus")
            await look(one)
            assert "taken over in another window" in one.status
            assert one.session.recipe.ratio == 0.15
            assert kept_work(NIN).state["recipe"]["ratio"] == 0.1
            assert [work.state["recipe"]["ratio"] for work in kept_copies(NIN)] == [0.15]


def test_a_claim_ends_with_its_app():
    first, other = Claim(NIN), Claim(NIN)
    first.take()
    assert other.holder() is not None and first.holder() is None
    assert len([*sessions_folder().glob(".*.open")]) == 2
    first.release()
    assert other.holder() is None
    other.take()
    other.take_copy()
    assert other.slot == "2"
