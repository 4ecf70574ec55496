"""The long work of the main screen: cutting to verify, and evaluating. One thing at a time, off the event loop."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tui_prune.app import headlines
from tui_prune.app.cells import Line
from tui_prune.app.headlines import Doing, Score, at_work
from tui_prune.app.heat_table import points_there
from tui_prune.app.jobs import Job, JobEnded, JobKind, JobProgressed, taken_in
from tui_prune.app.screens.recovery_report import RecoveryReport
from tui_prune.app.widgets.details_pane import PicturesPane
from tui_prune.formatting import in_turn, score

if TYPE_CHECKING:
    from tui_prune.app.screens.main import MainScreen
    from tui_prune.planning.plan import Plan
    from tui_prune.planning.recipe import Recipe
    from tui_prune.progress import Progress
    from tui_prune.result import Accuracy, Result, TuningPoint
    from tui_prune.search.curves import ErrorCurves
    from tui_prune.search.sensitivity import Sensitivity
    from tui_prune.session.searching import Search
    from tui_prune.tasks.task import Task
    from tui_prune.workers import Backend, WorkerState

RECOVERING, SCANNING, SUGGESTING = JobKind.RECOVERING, JobKind.SCANNING, JobKind.SUGGESTING
STOPPED = "stopped; nothing was changed"
PATIENCE = 3.0
"""Seconds that work which was asked to stop may take until it is said that it goes on."""

Outcome = tuple["Accuracy | None", "Result | None", "Recipe | Callable[[], None] | None"]
"""What was measured, what was cut, and the recipe to choose or what to do next."""

EVALUATE, RECOVER = "e measures the accuracy", "R wins accuracy back"
POINT = 0.01
"""A loss of more than this is worth a recovery: of accuracy, of other scores as a share."""

COMPARING = (JobKind.EVALUATING_PLANS, JobKind.TIMING_PLANS)


class LongWork:
    """Does it on behalf of the main screen, and remembers what it has shown of which recipe."""

    def __init__(self, screen: "MainScreen") -> None:
        self._screen = screen
        self.job: Job | None = None
        self._stopped: dict[Job, str] = {}
        """Asked to stop, and still at it; with what was said then."""
        self._left_behind: tuple[Job, Line] | None = None
        """The work that was last said to go on in the background, and the line that says so."""
        self.doing: Doing | None = None
        self._waiting: list[tuple[JobKind, Callable[[Search, Progress], Outcome]]] = []
        self.sensitivity: Sensitivity | None = None
        """What is known of what each layer can bear."""
        self.errors: ErrorCurves | None = None
        """How wrong the network gets with each layer alone cut."""
        self.suggested: Recipe | None = None
        """The recipe that was suggested last."""
        self._errors_of: tuple[Task, str] | None = None
        """The task and the criterion that they are by."""
        self.recovery: RecoveryReport | None = None
        self._has_points = False
        """Whether the present scan has come to any."""
        self._said = ""
        """What the fine-tuning loop has reported last."""
        self.workers: tuple[WorkerState, ...] = ()
        """What each worker is at, where several share the work."""
        self.watcher: Callable[[str], object] = lambda failure: None
        """Told whenever the work gets further or ends, by whoever else shows it; with what has failed, if anything."""
        self._plan: Plan | None = None
        self._score: tuple[Recipe, Score] | None = None
        self._checked: tuple[Recipe, Line] | None = None

    # What is known

    def score(self, recipe: "Recipe") -> Score | None:
        """The accuracy before, and after where it was measured for this recipe."""
        if self._score is None:
            return None
        measured, score = self._score
        live = self._screen.session.live_score(recipe)
        if measured == recipe:
            return dataclasses.replace(score, live=live)
        known = self._screen.session.figures(recipe)
        if not self._screen.plan.cuts:
            return Score(score.before)
        return Score(score.before, known.accuracy, known.recovered, live)

    def is_measured(self, recipe: "Recipe") -> bool:
        """Whether it is known what the network by a recipe is worth once its layers are refitted."""
        score = self.score(recipe)
        return score is not None and (score.recovered is not None or score.live is not None)

    def side(self, recipe: "Recipe") -> Line:
        """What to say at the right of the status line: what is going on, or what is known of this recipe."""
        if self.doing is not None:
            return headlines.doing(self.doing)
        return self._checked[1] if self._checked is not None and self._checked[0] == recipe else ()

    def hint(self, score: Score | None) -> str:
        """What the task could be asked to do next for the plan that is shown; empty where nothing suggests itself."""
        task = self._screen.session.task
        if self.job is not None or task is None or score is None or not self._screen.plan.cuts:
            return ""
        if score.recovered is not None:
            return ""
        if score.after is None:
            return EVALUATE
        return RECOVER if task.tunable and score.before - score.after > POINT * max(1.0, abs(score.before)) else ""

    @property
    def comparing(self) -> bool:
        """Whether plans are being measured beside each other."""
        return self.job is not None and self.job.kind in COMPARING

    # What is done

    def verify(self) -> None:
        """Cut the network and check the cut one in numbers."""
        self._start(JobKind.VERIFYING, lambda search, progress: (None, search.work.cut(progress), None))

    def evaluate(self) -> None:
        """Measure the network, and the cut one, by the user's task."""
        self._start(JobKind.EVALUATING, self._evaluate)

    def prepare(self, recipe: "Recipe") -> None:
        """Do what a recipe needs before it can be planned, then choose it."""

        def do(search: "Search", progress: "Progress") -> Outcome:
            search.work.prepare(recipe, progress)
            return None, None, recipe

        self._start(JobKind.MEASURING, do)

    def scan(self) -> None:
        """Ask the task of the network with each layer alone cut."""
        if self._screen.session.task is not None and self._screen.session.task.evaluate is None:
            self.read_errors()
            return
        backend = self._backend()
        self._learn(
            SCANNING, lambda search, progress: search.sensitivity(progress, shown=self._scanned, backend=backend)
        )

    def lacks_errors(self) -> bool:
        """Whether the errors of layers cut alone can be worked out, and weren't tried yet."""
        task, criterion = self._screen.session.task, self._screen.session.recipe.criterion
        return task is not None and task.calibration is not None and self._errors_of != (task, criterion)

    def take_errors(self, found: "ErrorCurves") -> None:
        """Take what was worked out elsewhere by the present task."""
        task = self._screen.session.task
        if task is not None:
            self.errors, self._errors_of = found, (task, found.criterion)
            self._show_scan()

    def read_errors(self) -> None:
        """Work out how wrong the network gets with each layer alone cut, where the task has calibration data and that
        isn't known yet; nothing where other work goes on."""
        session = self._screen.session
        criterion = session.recipe.criterion
        task = session.task
        if self.job is not None or task is None or not self.lacks_errors():
            return

        self._errors_of = task, criterion  # tried once: where it fails, it would again

        def work(search: "Search", progress: "Progress") -> None:
            self.errors = search.error_curves(progress)

        self._learn(JobKind.READING_ERRORS, work)

    def suggest(self, **wanted: Any) -> None:
        """Find the recipe that leaves so much and costs the least, and choose it. `wanted` goes to the session's
        `suggest`."""

        backend = self._backend()

        def do(search: "Search", progress: "Progress") -> Outcome:
            found = search.suggest(progress, shown=self._scanned, backend=backend, **wanted)
            planned = search.work.state.planning.preview(found)
            words = headlines.suggested(found, planned, search.expected(found))
            return None, None, lambda: self._choose(found, words)

        self._start(SUGGESTING, do)

    def _choose(self, recipe: "Recipe", words: str) -> None:
        """Choose what was found, and say what it is."""
        session = self._screen.session
        if self._screen.change(lambda: session.apply(recipe)):
            self.suggested = recipe
            if session.recovered is not None:
                self.take(session.plan, session.recovered.report.accuracy, session.recovered)
                words = f"{words}, {in_turn(session.recovered.report.recovered)}"
            self._screen.remark(words, "strong")

    def recover(self, *, reconstruct: bool, recalibrate: bool, finetune: bool) -> None:
        """Win accuracy back after the cut, by the task."""

        def do(search: "Search", progress: "Progress") -> Outcome:
            work, known = search.work, search.work.state.recovered
            before = () if known is None else known.report.recovered
            self.recovery = report = RecoveryReport(self._screen, work.plan, tuning=finetune, before=before)

            def tuned(point: "TuningPoint") -> None:
                report.point(point)
                self._tuned(point)

            result = work.recover(
                progress,
                reconstruct=reconstruct,
                recalibrate=recalibrate,
                finetune=finetune,
                shown=tuned,
                reached=report.stage,
            )
            return result.report.accuracy, result, None

        self._start(RECOVERING, do)

    def compare(self, recipes: "Sequence[Recipe]") -> None:
        """Evaluate the plans of recipes by the user's task."""
        self._learn(COMPARING[0], lambda search, progress: search.work.evaluate_plans(recipes, progress))

    def time(self, recipes: "Sequence[Recipe]") -> None:
        """Measure the latency of the plans of recipes on this device."""
        self._learn(COMPARING[1], lambda search, progress: search.work.time_plans(recipes, progress))

    def _backend(self) -> "Backend | None":
        """The workers that the user has asked for; None: none."""
        from tui_prune.workers import backend_for

        app: Any = self._screen.app  # screens don't import the app
        found = backend_for(app.request.jobs, app.request.cluster, app.request.device)
        if found is not None:
            found.watch = self._watch
        return found

    def _watch(self, states: "tuple[WorkerState, ...]") -> None:
        self.workers = states

    def _scanned(self, found: "Sensitivity") -> None:
        self.sensitivity, self._has_points = found, True

    @property
    def scanning(self) -> bool:
        """Whether the layers are being scanned, or are to be next."""
        now = [] if self.job is None else [self.job.kind]
        return any(one in (SCANNING, SUGGESTING) for one in (*now, *(waiting for waiting, _ in self._waiting)))

    def _scan_stopped(self, kind: JobKind) -> str:
        """What a scan leaves that is stopped."""
        if kind is SUGGESTING:
            return "stopped; what was measured is kept: S goes on with it"
        found = self.sensitivity if self._has_points else None
        return "stopped; n goes on" if found is None else f"stopped; {points_there(found)} kept; n goes on"

    def _tuned(self, point: "TuningPoint") -> None:
        figures = [
            *([] if point.loss is None else [f"loss {point.loss:.3g}"]),
            *([] if point.accuracy is None else [score(point.accuracy, point.accuracy)]),
        ]
        self._said = " ".join(figures)

    def take_task(self, path: str, then: "Callable[[], None]") -> None:
        """Read a task file, which may take long or fail, and work by it from now on."""

        def do(search: "Search", progress: "Progress") -> Outcome:
            from tui_prune.tasks.registry import open_task

            task = open_task(path).for_network(self._screen.session.opened)
            return None, None, lambda: self._take_task(task, then)

        self._start(JobKind.READING_TASK, do)

    def _take_task(self, task: "Task", then: "Callable[[], None]") -> None:
        self._screen.session.set_task(task)
        self._score = None
        app: Any = self._screen.app  # screens don't import the app
        app.request = dataclasses.replace(app.request, task=task.spec)
        if task.notes:
            self._screen.remark(" ".join(task.notes))
        if task.evaluate is not None:
            self.evaluate()
        if self._screen.prompt.question is None:
            then()

    def measure_activations(self) -> None:
        """Run the task's calibration data once, for the pictures of what layers put out."""
        self._learn(JobKind.CALIBRATING, lambda search, progress: search.work.measure_activations(progress))

    @property
    def recovering(self) -> bool:
        """Whether accuracy is being won back right now."""
        return self.job is not None and self.job.kind is RECOVERING

    def stop(self) -> None:
        """Ask the work to stop at its next step; nothing is waited for."""
        job = self.job
        if job is None:
            return
        self._screen.workers.cancel_group(self._screen, "job")
        words = STOPPED
        if job.kind is RECOVERING and self.recovery is not None:
            words = self.recovery.stopped()
            self.recovery.end(words, "dim")
        elif job.kind in (SCANNING, SUGGESTING):
            words = self._scan_stopped(job.kind)
        self._stopped[job] = words
        self.job, self.doing, self.workers = None, None, ()
        self._waiting.clear()
        self._screen.remark(words, "dim")
        self._show_scan()
        self._screen.set_timer(PATIENCE, lambda: self._goes_on(job))

    def _goes_on(self, job: Job) -> None:
        """Say that code of the user's which never asks whether to go on can't be stopped."""
        if job in self._stopped and self.job is None:
            self._screen.remark(
                f"{job.words} goes on in the background until it ends; tui-prune no longer waits", "dim"
            )
            self._left_behind = (job, self._screen.said)

    def _start(self, kind: JobKind, do: "Callable[[Search, Progress], Outcome]") -> None:
        """Start some work, or let it wait for what is going on."""
        if self.job is not None:
            again = kind is self.job.kind and self._screen.session.plan is self._plan
            if not again and kind not in [waiting for waiting, _ in self._waiting]:
                self._waiting.append((kind, do))
                self._show_scan()
            return
        self._said, self._has_points, self.workers = "", False, ()
        session = self._screen.session
        self._plan = plan = session.plan
        search = session.search(taken_in(session, self._screen))
        self._screen.live.stop()
        self.job = Job(kind, lambda progress: (plan, *do(search, progress)))
        self.doing = Doing(kind.words, "", 0.0)
        self._screen.remark("")
        self._show_scan()
        self._screen.run_job(self.job)

    def _learn(self, kind: JobKind, work: "Callable[[Search, Progress], object]") -> None:
        """Start some work of which the session itself keeps what it finds out."""

        def do(search: "Search", progress: "Progress") -> Outcome:
            work(search, progress)
            return None, None, None

        self._start(kind, do)

    def _evaluate(self, search: "Search", progress: "Progress") -> Outcome:
        work = search.work
        accuracy = work.evaluate(progress)
        remarks = () if work.state.task is None else work.state.task.remarks()
        then = (lambda: self._screen.remark(" ".join(remarks))) if remarks else None
        return accuracy, None if accuracy.after is None else work.cut(progress), then

    def _show_scan(self) -> None:
        if self._screen.tabs.active == "sensitivity":
            self._screen.show_sensitivity()

    # How it went

    def progressed(self, event: JobProgressed) -> None:
        """Say how far the work is."""
        if event.job is self.job:
            tuned = self.recovery.tuned if self.recovering and self.recovery is not None else None
            self.doing = at_work(event.job.kind, self._said or event.stage, event.done if tuned is None else tuned)
            self._screen.sum_up()
            self.watcher("")
            if self.recovering and self.recovery is not None:
                self.recovery.go_on(Doing(event.stage, "", event.done))
            self._show_scan()

    def ended(self, event: JobEnded) -> None:
        """Take what has come of the work, and go on with what waits."""
        if event.job in self._stopped:
            words = self._stopped.pop(event.job)
            if self._left_behind == (event.job, self._screen.said):  # it no longer goes on
                self._screen.remark(words, "dim")
            if event.outcome is not None:  # fine-tuning gives the best state that it had
                self.take(*event.outcome[:3])
            elif event.job.kind is RECOVERING and self.recovery is not None and self.job is None:
                words = self.recovery.stopped(kept=False)
                self.recovery.end(words, "dim")
                self._screen.remark(words, "dim")
        if event.job is not self.job:
            return
        self.job, self.doing, self.workers = None, None, ()
        if event.failure:
            self._screen.remark(f"! {event.failure}", "error", event.traceback)
            if event.job.kind is RECOVERING and self.recovery is not None:
                self.recovery.end(f"! {event.failure}", "error")
        elif not event.stopped:
            plan, accuracy, result, chosen = event.outcome
            self.take(plan, accuracy, result)
            self._screen.query_one(PicturesPane).forget()
            if callable(chosen):
                chosen()
            elif chosen is not None:
                self._screen.change(lambda: self._screen.session.apply(chosen))
        self._show_scan()
        self._screen.sum_up()
        self.watcher(event.failure or "")
        if self._waiting:
            self._start(*self._waiting.pop(0))
        elif self._screen.tabs.active == "sensitivity":
            self.read_errors()
        self._screen.live.touched()

    def take(self, plan: "Plan", accuracy: "Accuracy | None", result: "Result | None") -> None:
        """Remember what was found out of a plan. A cut may have found widths that the network's own code fixes."""
        recipe = plan.recipe
        if accuracy is not None:
            self._score = (recipe, Score(accuracy.before, accuracy.after, accuracy.recovered))
        if result is not None:
            self._checked = (
                recipe,
                headlines.checked(result.report.equivalence.kind, result.report.equivalence.max_error),
            )
            self._say_recovery(result)
        session = self._screen.session
        if session.plan is not plan and session.recipe == recipe:
            self._screen.show_plan(session.plan)
            if _widths(session.plan) != _widths(plan):
                self._screen.remark("the network's own code fixes some widths: they are locked now, Channels says why")

    def _say_recovery(self, result: "Result") -> None:
        """Say what recovering has brought."""
        steps, accuracy = result.report.recovered, result.report.accuracy
        if not steps and not result.notes:
            return
        words = in_turn(steps)
        if accuracy is not None and accuracy.after is not None and accuracy.recovered is not None:
            words += f": {score(accuracy.after, accuracy.before)} → {score(accuracy.recovered, accuracy.before)}"
        words = "; ".join(filter(None, (words, *result.notes))).replace(".;", ";")
        self._screen.remark(words, "strong", result.traceback)
        if self.recovery is not None and not self.recovering:
            self.recovery.end(words)


def _widths(plan: "Plan") -> list[tuple[str, int, str | None]]:
    """What a plan leaves of each layer, and what locks it."""
    return [(layer.name, layer.after, layer.locked) for layer in plan.layers]
