"""Opening networks on behalf of the app: asks what, says how far it is, shows what came of it."""

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual import events

from tui_prune.app import garbage, opening_hints
from tui_prune.app.bindings import MAIN
from tui_prune.app.jobs import Job, JobEnded, JobKind, JobProgressed
from tui_prune.app.screens.opening import OpeningScreen
from tui_prune.app.typed_ahead import TypedAhead
from tui_prune.loading.request import OpenRequest

if TYPE_CHECKING:
    from textual.widget import AwaitMount

    from tui_prune.app.app import PruneApp
    from tui_prune.app.screens.main import MainScreen
    from tui_prune.app.screens.start import Place
    from tui_prune.progress import Progress
    from tui_prune.session.session import Session

OpenSession = Callable[[OpenRequest, "Progress"], "Session"]
"""Opens what the app is to show; it runs in a thread and may import torch."""

BUNDLED = "nin"
STOPPED = "Stopped: nothing was opened."


class Openings:
    """Opens one network at a time. What is open stays until the next one is there."""

    def __init__(self, app: "PruneApp", open_session: OpenSession) -> None:
        self._app = app
        self._open_session = open_session
        self._request = app.request
        """What is being opened, or was in vain."""
        self._how: OpenSession | None = None
        self._job: Job | None = None
        self._failed = 0
        self._begun = False
        """Whether anything was opened, or tried to."""
        self._arrived: MainScreen | None = None
        """The main screen that has been in sight."""
        self.ahead = TypedAhead(app)
        self.panel = OpeningScreen(app.request.name)

    @property
    def exit_status(self) -> int:
        """0, or why the app has nothing to show."""
        return self._failed if self._app.session is None else 0

    @property
    def _asks_at_start(self) -> bool:
        """Whether nothing was named: then the bundled network is opened, and one may choose another."""
        return self._app.request.names_nothing

    def begin(self) -> None:
        """Open what the command line names; without a name, ask as well. Nothing is opened before the first frame,
        because importing torch holds the interpreter."""
        if self._asks_at_start:
            self._ask(closes_to="to the digits network")
        else:
            self.ahead.wait()
        self._app.call_after_refresh(self._open_first)

    def _open_first(self) -> None:
        """Open what the command line names, unless something has been opened already."""
        if not self._begun:
            self._start(self._app.request)

    # Asking

    def choose(self) -> None:
        """Ask what to open instead of what is there."""
        self._ask(closes_to="closes")

    def _ask(self, place: "Place | None" = None, *, closes_to: str) -> "AwaitMount":
        from tui_prune.app.screens.start import StartScreen

        comes_to_main = self._app.session is not None or (self._asks_at_start and not self._failed)
        screen = StartScreen(
            place,
            passes=self._means_something if comes_to_main else lambda key: False,
            closes_to=closes_to,
            chosen=BUNDLED,
        )
        return self._app.push_screen(screen, self._chosen)

    def _chosen(self, request: OpenRequest | None) -> None:
        if request is None or (request == OpenRequest(BUNDLED) and self._is_bundled):
            if self._main is not None:
                self._arrive()
                return
            self._open_first()  # what was to come after the list's first frame is dropped with a list that left before
            if self._job is not None:
                self.ahead.wait()  # for the main screen that is on its way
        elif self._app.session is not None and self._app.session.dirty:
            from tui_prune.app.screens.dialog import OpenDialog

            self.show_main()
            leaves = {} if self._app.keeper is None else self._app.keeper.leaves()
            self._app.push_screen(OpenDialog(**leaves), functools.partial(self._answered, request))
        else:
            self.open(request)

    async def _answered(self, request: OpenRequest, answer: str | None) -> None:
        if answer == "open":
            self.open(request)
        elif answer == "save":
            await self._app.screen.run_action("save")

    @property
    def _is_bundled(self) -> bool:
        """Whether the bundled network, untouched, is what is open or on its way."""
        session = self._app.session
        return self._asks_at_start and not self._failed and (session is None or not session.dirty)

    # Opening

    def open(self, request: OpenRequest) -> None:
        """Open something else. What is open stays in sight only if that fails."""
        self._start(dataclasses.replace(request, device=self._app.request.device))

    def retrace(self, input_spec: str) -> None:
        """Trace the network that is open on another example input."""
        from tui_prune.app.reopening import with_input

        session = self._app.session
        assert session is not None

        def again(request: OpenRequest, progress: "Progress") -> "Session":
            return with_input(session, request.input_spec or session.opened.input_spec, progress)

        self._start(dataclasses.replace(self._app.request, input_spec=input_spec), again)

    def try_again(self, input_spec: str | None) -> None:
        """What has failed once more, with another input where one is given."""
        request = self._request if input_spec is None else dataclasses.replace(self._request, input_spec=input_spec)
        self._start(request, self._how)

    def _start(self, request: OpenRequest, how: OpenSession | None = None) -> None:
        self._request, self._how = request, how
        self._begun, self._failed = True, 0
        if self._app.session is not None and self._app.screen is not self.panel:
            self.panel = OpeningScreen(request.name, can_go_back=True)
            self._app.push_screen(self.panel)
        if self._app.screen is self.panel:
            self.ahead.wait()
        # Where nothing was named, the bundled network is what there is to go back to.
        can_stop = not (self._asks_at_start and request == self._app.request)
        self.panel.work_on(request.name, can_stop=can_stop)
        self._job = Job(JobKind.OPENING, functools.partial(how or self._open_session, request))
        self._app.run_opening(self._job)

    def progressed(self, event: JobProgressed) -> None:
        """Say how far it is."""
        if event.job is self._job:
            self.panel.progress(event.stage, event.done)

    async def ended(self, event: JobEnded) -> None:
        """Show what was opened, or why it couldn't be."""
        if event.job is not self._job:
            return
        self._job = None
        if event.failure or event.stopped:
            self.ahead.forget()
            self._failed = 2 if event.wrong_use else 1
            sentence = event.failure or STOPPED
            found = opening_hints.hints(self._request, event.remedies, wrong_use=event.wrong_use)
            self.panel.fail(sentence, found, self._request.input_spec or "", event.traceback)
            return
        self._app.request, self._app.session = self._request, event.outcome
        await self._show(event.outcome)

    def leave(self) -> None:
        """Stop what is going on, or go back from what has failed."""
        if self._job is not None:
            self._app.stop_opening()
            self._job = None
            self.ahead.forget()
            if self._app.session is None:
                self.panel.fail(STOPPED, [opening_hints.AGAIN_STOPPED, opening_hints.CHOOSE])
                self._failed = 1
                return
        if self._app.session is None:
            self._app.exit(return_code=self._failed)
        else:
            self.show_main()

    async def _show(self, session: "Session") -> None:
        """Put the main screen where the old one was; the start screen stays over it."""
        from tui_prune.app.keeper import Keeper
        from tui_prune.app.screens.main import MainScreen
        from tui_prune.app.screens.start import StartScreen

        app, place = self._app, None
        if isinstance(app.screen, StartScreen):
            place = app.screen.place
        claim = None if app.keeper is None else app.keeper.release(to_next=self._how is not None)
        app.keeper = Keeper(session, app.request, claim)
        with app.batch_update():  # or the start screen would be seen to go and come again
            while len(app.screen_stack) > 1:
                await app.pop_screen()
            garbage.set_apart(session)
            await app.push_screen(MainScreen(session, app.keeper.changed))
            if place is not None:
                await self._ask(place, closes_to="to the digits network")
        if place is None:
            self._arrive()

    def _arrive(self) -> None:
        """The main screen is in sight: ask what there is to ask of a network that is new, and give it the keys."""
        main, keeper, session = self._main, self._app.keeper, self._app.session
        assert main is not None
        assert keeper is not None
        assert session is not None
        if self._arrived is not main:
            self._arrived = main
            recognised = session.opened.recognised
            asks = keeper.begin(main, offering=self._how is None)
            if not asks and recognised is not None and recognised.others:
                self._offer_others()
                asks = True
            if asks:
                self.ahead.forget()  # what was typed was meant for the main screen, and not for this question
        self.ahead.give_on()

    def show_main(self) -> None:
        """Leave whatever is over the main screen, where there is one."""
        while self._main is not None and self._app.screen is not self._main:
            self._app.pop_screen()

    def _offer_others(self) -> None:
        """Several networks fit the weights: say which was taken and why, and let another be taken."""
        from tui_prune.app.screens.others import OthersDialog

        session = self._app.session
        assert session is not None
        assert session.opened.recognised is not None
        self._app.push_screen(OthersDialog(session.opened.recognised), self._other_chosen)

    def _other_chosen(self, spec: str | None) -> None:
        if spec is not None:
            request = self._app.request
            self.open(dataclasses.replace(request, spec=spec, weights=request.spec))

    # Keys

    def holds(self, event: events.Key) -> bool:
        """Whether a key isn't for the screen that is there now: it is kept for the main screen."""
        from tui_prune.app.screens.start import StartScreen

        if self.ahead.holds(event):
            return True
        if not self._app.screen_stack:  # the app is closing: nobody is there to take it
            return True
        screen = self._app.screen
        if isinstance(screen, StartScreen) and screen.lets_pass(event.key):
            self.ahead.wait(event)
            screen.dismiss(None)
            return True
        return False

    @property
    def _main(self) -> "MainScreen | None":
        from tui_prune.app.screens.main import MainScreen

        return next((screen for screen in self._app.screen_stack if isinstance(screen, MainScreen)), None)

    def _means_something(self, key: str) -> bool:
        """Whether a key does something on the main screen."""
        if self._app.session is not None and (main := self._main) is not None:
            return key in main.active_bindings
        from tui_prune.app.widgets.layer_tree import LayerTree

        known: list[Any] = [*MAIN, *LayerTree.BINDINGS, *self._app.BINDINGS]
        keys = {one for binding in known for one in binding.key.split(",")}
        return key in keys or key == self._app.COMMAND_PALETTE_BINDING
