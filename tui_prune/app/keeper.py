"""Keeps what the user chooses as they choose it, so that a dropped line or a crash loses nothing, and offers it when
the network is opened again."""

import logging
import time
from typing import TYPE_CHECKING, Any

from tui_prune.app import headlines
from tui_prune.app.cells import text_of
from tui_prune.app.position import go_to, position
from tui_prune.app.recovered import to_keep
from tui_prune.choosing.words import what_changed
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.keeping.saved_work import SavedWork, kept_work, set_aside
from tui_prune.keeping.words import ago
from tui_prune.keeping.writer import Writer
from tui_prune.progress import silent

if TYPE_CHECKING:
    from textual.timer import Timer

    from tui_prune.app.screens.main import MainScreen
    from tui_prune.planning.plan import Plan
    from tui_prune.planning.recipe import Recipe
    from tui_prune.progress import Progress
    from tui_prune.request import OpenRequest
    from tui_prune.session import Session

_log = logging.getLogger(__name__)

LAZY = 3.0
"""Seconds until a move of the cursor is kept; choices are kept at once."""
PATIENCE = 2.0
"""Seconds that leaving waits for the disk."""


class Keeper:
    """Keeps one session; made when the network is open."""

    def __init__(self, session: "Session", request: "OpenRequest") -> None:
        self._session, self._request = session, request
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
        work = kept_work(self._request) if offering else None
        if not offering:
            self._untouched = None
            self._keep()
        elif work is None or not work.chosen:
            self._writer.put(self._work(chosen=False))
        elif self._session.can_undo:
            screen.remark(f"u brings back what you had {ago(work.changed)}: {work.summary}", "dim")
        else:
            self._offer(screen, work)
            return True
        return False

    def changed(self) -> None:
        """There may be another choice: keep it, once it is on the screen."""
        if self._screen is not None and not self._asking:
            self._screen.call_after_refresh(self._keep)

    def close(self) -> bool:
        """Keep what isn't kept yet, and wait for it; whether it could be."""
        self._keep()
        self._writer.wait(PATIENCE)
        return self.kept

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
        self._writer.put(self._work(chosen=True))

    def _work(self, *, chosen: bool) -> SavedWork:
        session = self._session
        state = {
            "chosen": chosen,
            "session": session.state(),
            "recipe": session.recipe.to_dict(),
            "position": position(self._screen) if self._screen else {},
            "recovered": self._recovered[1] if self._recovered[0] == session.recipe else None,
        }
        return SavedWork(self._request, session.opened.title, summary(session.plan), time.time(), state)

    def _failed(self, sentence: str) -> None:
        """In the writer's thread."""
        if not self._said and self._screen is not None:
            self._said = True
            self._screen.call_later(self._screen.remark, f"! not kept for another time: {sentence}", "error")

    # Going on

    def _offer(self, screen: "MainScreen", work: SavedWork) -> None:
        from tui_prune.app.screens.going_on import GoingOn

        def answered(going_on: bool | None) -> None:
            self._asking = False
            self._logged = self._session.recipe
            if going_on:
                self._untouched = None
                self._recovered = self._session.recipe, work.state.get("recovered")
                _log.info("went on with what was kept: %s", work.summary)
                screen.show_plan(self._session.plan)
                go_to(screen, work.state.get("position", {}))
            else:
                self._untouched = self._session.state()
                _log.info("started anew")

        self._asking = True
        screen.app.push_screen(GoingOn(self._session, work), answered)


def summary(plan: "Plan") -> str:
    """The choices in words: "cut 50 %, align 8, l2, local · MACs 27 %"."""
    if not plan.cuts:
        return "nothing cut"
    words = text_of(headlines.status(plan.recipe, (), 1000, plan.ratio)).strip().replace(" · ", ", ")
    return f"{words} · MACs {headlines.share(plan.after.macs, plan.before.macs)}"


def start_above(session: "Session", work: SavedWork, recipe: "Recipe", progress: "Progress" = silent) -> None:
    """Choose a recipe as a step after the kept ones, so that undo brings them back. Where they don't fit any more, or
    planning them takes long, they are set aside.

    Raises `UsageError` when the recipe itself can't be planned.
    """
    try:
        waits_for = session.waits_for(kept_recipe(work))
        if waits_for:
            raise UsageError(f"Before it can be gone on with {waits_for}.")
        session.restore(work.state.get("session", {}))
    except TuiPruneError as error:
        _log.warning("%s What was kept is now in %s", error, set_aside(work))
    session.prepare(recipe, progress)
    session.apply(recipe)


def kept_recipe(work: SavedWork) -> "Recipe":
    """The recipe that held when the work was kept. Raises `UsageError` when it can't be read."""
    from tui_prune.planning.recipe import Recipe

    return Recipe.from_dict(work.state.get("recipe", {}))
