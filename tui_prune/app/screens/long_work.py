"""The long work of the main screen: cutting to verify, and evaluating. One thing at a time, off the event loop."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from tui_prune.app import headlines
from tui_prune.app.cells import Line
from tui_prune.app.headlines import Doing, Score
from tui_prune.app.jobs import Job, JobEnded, JobProgressed

if TYPE_CHECKING:
    from tui_prune.app.screens.main import MainScreen
    from tui_prune.planning.plan import Plan
    from tui_prune.planning.recipe import Recipe
    from tui_prune.progress import Progress
    from tui_prune.result import Result
    from tui_prune.session import Accuracy

Outcome = tuple["Accuracy | None", "Result | None"]


class LongWork:
    """Does it on behalf of the main screen, and remembers what it has shown of which recipe."""

    def __init__(self, screen: "MainScreen") -> None:
        self._screen = screen
        self.job: Job | None = None
        self.doing: Doing | None = None
        self._waiting: list[tuple[str, Callable[[Progress], Outcome], Recipe | None]] = []
        self._chosen: Recipe | None = None
        self._plan: Plan | None = None
        self._score: tuple[Recipe, Score] | None = None
        self._checked: tuple[Recipe, Line] | None = None

    # What is known

    def score(self, recipe: "Recipe") -> Score | None:
        """The accuracy before, and after where it was measured for this recipe."""
        if self._score is None:
            return None
        measured, score = self._score
        return score if measured == recipe else Score(score.before, None)

    def side(self, recipe: "Recipe") -> Line:
        """What to say at the right of the status line: what is going on, or what is known of this recipe."""
        if self.doing is not None:
            return headlines.doing(self.doing)
        return self._checked[1] if self._checked is not None and self._checked[0] == recipe else ()

    # What is done

    def verify(self) -> None:
        """Cut the network and check the cut one in numbers."""
        self._start("verifying", lambda progress: (None, self._screen.session.cut(progress)))

    def evaluate(self) -> None:
        """Measure the network, and the cut one, by the user's task."""
        self._start("evaluating", self._evaluate)

    def prepare(self, recipe: "Recipe") -> None:
        """Do what a recipe needs before it can be planned, then choose it."""

        def do(progress: "Progress") -> Outcome:
            self._screen.session.prepare(recipe, progress)
            return None, None

        self._start("measuring", do, recipe)

    def stop(self) -> None:
        """Ask the work to stop at its next step; nothing is waited for."""
        self._screen.workers.cancel_group(self._screen, "job")
        self.job, self.doing = None, None
        self._waiting.clear()

    def _start(self, words: str, do: "Callable[[Progress], Outcome]", chosen: "Recipe | None" = None) -> None:
        """Start some work, or let it wait for what is going on; `chosen` becomes the recipe at its end."""
        if self.job is not None:
            again = words == self.job.words and self._screen.session.plan is self._plan
            if not again and words not in [waiting for waiting, *_ in self._waiting]:
                self._waiting.append((words, do, chosen))
            return
        self._chosen = chosen
        self._plan = plan = self._screen.session.plan
        self.job = Job(words, lambda progress: (plan, *do(progress)))
        self.doing = Doing(words, "", 0.0)
        self._screen.remark("")
        self._screen.run_job(self.job)

    def _evaluate(self, progress: "Progress") -> Outcome:
        session = self._screen.session
        recipe = session.recipe
        accuracy = session.evaluate(progress)
        if accuracy.after is None:
            return accuracy, None
        if session.recipe != recipe:  # the plan has changed meanwhile: nobody knows which one was measured
            return dataclasses.replace(accuracy, after=None), None
        return accuracy, session.cut(progress)

    # How it went

    def progressed(self, event: JobProgressed) -> None:
        """Say how far the work is."""
        if event.job is self.job:
            self.doing = Doing(event.job.words, event.stage, event.done)
            self._screen.sum_up()

    def ended(self, event: JobEnded) -> None:
        """Take what has come of the work, and go on with what waits."""
        if event.job is not self.job:
            return
        self.job, self.doing = None, None
        if event.failure:
            self._screen.remark(f"! {event.failure}", "error")
        elif not event.stopped:
            self.take(*event.outcome)
            chosen = self._chosen
            if chosen is not None:
                self._screen.change(lambda: self._screen.session.apply(chosen))
        self._screen.sum_up()
        if self._waiting:
            self._start(*self._waiting.pop(0))

    def take(self, plan: "Plan", accuracy: "Accuracy | None", result: "Result | None") -> None:
        """Remember what was found out of a plan. A cut may have found widths that the network's own code fixes."""
        recipe = plan.recipe
        if accuracy is not None:
            self._score = (recipe, Score(accuracy.before, accuracy.after))
        if result is not None:
            self._checked = (
                recipe,
                headlines.checked(result.report.equivalence.kind, result.report.equivalence.max_error),
            )
        session = self._screen.session
        if session.plan is not plan and session.recipe == recipe:
            self._screen.show_plan(session.plan)
            self._screen.remark("the network's own code fixes some widths: they are locked now, Channels says why")
