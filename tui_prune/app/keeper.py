"""Keeps what the user chooses as they choose it, so that a dropped line or a crash loses nothing, and offers it when
the network is opened again."""

import logging
import time
from typing import TYPE_CHECKING, Any

from tui_prune.app import headlines
from tui_prune.app.cells import text_of
from tui_prune.app.position import go_to, position
from tui_prune.app.recovered import are_back, not_saved, to_keep
from tui_prune.app.weights_keeper import WeightsKeeper, take_up
from tui_prune.errors import Cancelled, TuiPruneError, UsageError
from tui_prune.formatting import ago, share
from tui_prune.progress import part, silent
from tui_prune.session.autosave.claims import Claim, Holder
from tui_prune.session.autosave.saved_work import SavedWork, kept_copies, kept_work, mark, set_aside
from tui_prune.session.autosave.writer import Writer
from tui_prune.session.words import what_changed

if TYPE_CHECKING:
    from textual.timer import Timer

    from tui_prune.app.screens.main import MainScreen
    from tui_prune.loading.request import OpenRequest
    from tui_prune.planning.plan import Plan
    from tui_prune.planning.recipe import Recipe
    from tui_prune.progress import Progress
    from tui_prune.session.session import Session

_log = logging.getLogger(__name__)

LAZY = 3.0
"""Seconds until a move of the cursor is kept; choices are kept at once."""
LOOK = 1.0
"""Seconds between two looks at what another window has made of the same work."""
PATIENCE = 2.0
"""Seconds that leaving waits for the disk."""


class Keeper:
    """Keeps one session; made when the network is open."""

    def __init__(self, session: "Session", request: "OpenRequest", claim: Claim | None = None) -> None:
        """`claim`: of the keeper before it, where the same network goes on."""
        self._session, self._request = session, request
        self._claim = claim or Claim(request)
        self._joined = False
        """Whether another window keeps the same work, and both go on with it."""
        self._seen: tuple[int, int] | None = None
        """Marks the write that this window has made, or taken in, last."""
        self._writer = Writer(self._failed)
        self._screen: MainScreen | None = None
        self._timer: Timer | None = None
        self._asking = False
        self._untouched: dict[str, Any] | None = session.state()
        """The state that isn't worth keeping: nothing was chosen since. None: any is."""
        self._kept: tuple[Any, ...] | None = None
        self._recovered: tuple[Recipe, dict[str, Any] | None] = session.recipe, None
        """What there is to say of the last recovery, and of which recipe it was."""
        self._logged = session.recipe
        self._said = False
        self._again = ""
        """What there is to be said once more."""
        self.weights = WeightsKeeper(session, request, self._say)
        _log.info("opened %s (%s)", session.opened.title, session.opened.weights or "random weights")

    @property
    def kept(self) -> bool:
        """Whether there are choices on the disk that can be gone on with."""
        return self._kept is not None and not self._writer.failing

    def begin(self, screen: "MainScreen", *, offering: bool = True) -> bool:
        """Watch the main screen; where there is work to go on with, offer it. Gives whether it asks something."""
        self._screen = screen
        for widget, attribute in ((screen.layer_tree, "rows"), (screen.layer_tree, "cursor"), (screen.tabs, "active")):
            screen.watch(widget, attribute, self._moved, init=False)
        screen.set_interval(LOOK, self._look)
        self._seen = mark(self._request, self._claim.slot)
        holder = self._claim.holder() if offering else None
        if holder is not None:
            self._ask_to_share(screen, holder)
            return True
        self._claim.take(self._claim.slot)
        if not offering:
            self._untouched = None
            self._keep()
            return False
        work = kept_work(self._request)
        works = [*([work] if work is not None and work.chosen else []), *self._free_copies()]
        if works and self._session.can_undo:
            screen.remark(f"u brings back what you had {ago(works[0].changed)}: {works[0].summary}", "dim")
        elif works:
            self._offer(screen, works)
            return True
        else:
            self._put(self._work(self._session.state(), position(screen), chosen=False))
        return False

    def changed(self) -> None:
        """There may be another choice: keep it, once it is on the screen."""
        if self._screen is not None and not self._asking:
            self._screen.call_after_refresh(self._keep)

    def release(self, *, to_next: bool = False) -> Claim | None:
        """Keep what isn't kept yet and let go of the work; or, `to_next`, give the claim to the next keeper."""
        self.close()
        if to_next:
            self._screen = None
            return self._claim
        self.let_go()
        return None

    def let_go(self) -> None:
        """Keep nothing any more; another window may have the work."""
        self._screen = None
        self._claim.release()

    def close(self) -> bool:
        """Keep what isn't kept yet, and wait for it; whether it could be."""
        self._keep()
        self._writer.wait(PATIENCE)
        return self.kept

    def leaves(self) -> dict[str, Any]:
        """Keep what isn't kept yet; what the dialogs say of what would be left: choices, and recovered weights."""
        kept, found = self.close(), self._session.unsaved_recovery
        kept_weights = found is not None and self.weights.has(found)
        return {"kept": kept, "weights": not_saved(self._session), "kept_weights": kept_weights}

    # Keeping

    def _moved(self) -> None:
        if self._timer is None and self._screen is not None:
            self._timer = self._screen.set_timer(LAZY, self._keep)

    def _keep(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        if self._screen is None or self._asking:
            return
        self._say_again(self._screen)
        self._follow(self._screen)
        self.weights.settle()
        state, place = self._session.state(), position(self._screen)
        recipe = self._session.recipe
        reached = to_keep(self._session)
        if reached is not None:
            self._recovered = recipe, reached
        now = state, place, self._recovered
        if (state == self._untouched and reached is None) or now == self._kept:
            return
        self._untouched, self._kept = None, now
        if recipe != self._logged:
            _log.info("chosen: %s", what_changed(self._logged, recipe))
            self._logged = recipe
        self._put(self._work(state, place, chosen=True))

    def _put(self, work: SavedWork) -> None:
        def written() -> None:
            self._seen = mark(work.request, work.slot)

        self._writer.put(work, written)

    def _work(self, choices: dict[str, Any], place: dict[str, Any], *, chosen: bool) -> SavedWork:
        """The session's `state`, and where one is on the screen, as they are written."""
        session = self._session
        state = {
            "chosen": chosen,
            "session": choices,
            "recipe": session.recipe.to_dict(),
            "position": place,
            "recovered": self._recovered[1] if self._recovered[0] == session.recipe else None,
        }
        words = summary(session.plan)
        return SavedWork(self._request, session.opened.title, words, time.time(), state, slot=self._claim.slot)

    def _failed(self, sentence: str) -> None:
        """In the writer's thread."""
        if not self._said:
            self._said = True
            self._say(f"! not kept for another time: {sentence}")

    def _say(self, words: str) -> None:
        """From any thread, say what can't be kept; and once more when there is no work that has its own to say."""
        if self._screen is not None:
            self._again = words
            self._screen.call_later(self._screen.remark, words, "error")

    def _say_again(self, screen: "MainScreen") -> None:
        if self._again and screen.work.job is None and not self._session.recovering:
            screen.remark(self._again, "error")
            self._again = ""

    # Going on

    def _offer(self, screen: "MainScreen", works: list[SavedWork], *, at_once: bool = False) -> None:
        """`at_once`: it was asked for already."""
        from tui_prune.app.screens.going_on import GoingOn

        def answered(going_on: bool | None) -> None:
            self._asking = False
            work = dialog.work
            if not self._joined and not at_once and work.slot != self._claim.slot:
                self._claim.release_slot()
                self._claim.take(work.slot)
            self._seen = mark(self._request, self._claim.slot)
            self._logged = self._session.recipe
            self.weights.took_up()
            if going_on:
                self._untouched = None
                self._recovered = self._session.recipe, work.state.get("recovered")
                _log.info("went on with what was kept: %s", work.summary)
                screen.show_plan(self._session.plan)
                go_to(screen, work.state.get("position", {}))
                screen.remark(are_back(self._session), "strong")
            else:
                self._untouched = self._session.state()
                _log.info("started anew")
            if dialog.said:
                screen.remark(f"! {' '.join(dialog.said)}", "error")

        self._asking = True
        dialog = GoingOn(self._session, works, at_once=at_once)
        screen.app.push_screen(dialog, answered)

    def _free_copies(self) -> list[SavedWork]:
        return [work for work in kept_copies(self._request) if self._claim.holder(work.slot) is None]

    # Another window on the same network

    def _ask_to_share(self, screen: "MainScreen", holder: Holder) -> None:
        from tui_prune.app.screens.sharing import COPY, JOIN, SharingDialog

        work = kept_work(self._request)

        def answered(choice: str | None) -> None:
            self._asking = False
            self._joined = choice == JOIN
            if choice == COPY or choice is None:
                self._claim.take_copy()
            elif choice != JOIN:
                self._claim.take()
            self._seen = mark(self._request, self._claim.slot)
            _log.info("the network is open in another window: %s", choice or COPY)
            present = kept_work(self._request)
            if present is not None and present.chosen and not self._session.can_undo:
                self._offer(screen, [present], at_once=True)

        self._asking = True
        screen.app.push_screen(SharingDialog(holder, work), answered)

    def _look(self) -> None:
        """Whether another window has changed this work, or taken it over."""
        if self._screen is not None and not self._asking and self._follow(self._screen):
            self._keep()

    def _follow(self, screen: "MainScreen") -> bool:
        """Do what another window's doings ask for; whether there is something to keep anew."""
        if not self._joined and self._claim.lost:
            self._claim.take_copy()
            self._seen, self._kept = mark(self._request, self._claim.slot), None
            self._say("! taken over in another window; what you choose here is kept as a copy")
            return True
        if self._joined and self._claim.holder() is None:  # the other window has left
            self._joined = False
            self._claim.take()
        return self._take_in_changes(screen)

    def _take_in_changes(self, screen: "MainScreen") -> bool:
        """Where another window has written this work, go on from there; what was chosen here meanwhile is a step after
        it, and true is given back."""
        if self._writer.pending or screen.work.job is not None or self._session.recovering:
            return False
        now = mark(self._request, self._claim.slot)
        if now is None or now == self._seen:
            return False
        self._seen = now
        work, session = kept_work(self._request, self._claim.slot), self._session
        if work is None or not work.chosen or work.state.get("session") == session.state():
            return False
        mine, before, theirs = session.recipe, session.state(), work.state.get("session", {})
        synced = None if self._kept is None else self._kept[0]
        unseen = mine.to_dict() not in (theirs.get("history") or [])
        own = session.can_undo and (unseen or synced != before) and mine != kept_recipe(work)
        try:
            waits_for = session.waits_for(kept_recipe(work))
            if waits_for:
                raise UsageError(f"Before it can be gone on with {waits_for}.")
            session.restore(theirs)
            if own:
                session.apply(mine)
        except TuiPruneError as error:
            session.restore(before)
            screen.remark(f"! the other window's choices can't be taken in: {error}", "error")
            return False
        self._logged, self._untouched = session.recipe, None
        if not own:
            self._kept = session.state(), position(screen), self._recovered
        screen.show_plan(session.plan)
        how = "; yours is the step after it" if own else ""
        screen.remark(f"the other window: {work.summary}{how}", "strong")
        return own


def summary(plan: "Plan") -> str:
    """The choices in words: "cut 50 %, align 8, l2, local · MACs 27 %"."""
    if not plan.cuts:
        return "nothing cut"
    words = text_of(headlines.status(plan.recipe, (), 1000, plan.ratio)).strip().replace(" · ", ", ")
    return f"{words} · MACs {share(plan.after.macs, plan.before.macs)}"


def start_above(session: "Session", work: SavedWork, recipe: "Recipe", progress: "Progress" = silent) -> list[str]:
    """Choose a recipe as a step after the kept ones, so that undo brings them back, with their recovered weights; gives
    sentences on those that can't be taken up. Where the kept steps don't fit any more, or planning them takes long,
    they are set aside.

    Raises `UsageError` when the recipe itself can't be planned.
    """
    said: list[str] = []
    try:
        waits_for = session.waits_for(kept_recipe(work))
        if waits_for:
            raise UsageError(f"Before it can be gone on with {waits_for}.")
        session.restore(work.state.get("session", {}))
        said = take_up(session, work, part(progress, 0.0, 0.8))
    except Cancelled:
        raise
    except TuiPruneError as error:
        _log.warning("%s What was kept is now in %s", error, set_aside(work))
    session.prepare(recipe, part(progress, 0.8, 1.0))
    session.apply(recipe)
    return said


def kept_recipe(work: SavedWork) -> "Recipe":
    """The recipe that held when the work was kept. Raises `UsageError` when it can't be read."""
    from tui_prune.planning.recipe import Recipe

    return Recipe.from_dict(work.state.get("recipe", {}))
