"""The key of the main screen that takes the next step of the guided way."""

from typing import TYPE_CHECKING

from tui_prune.app import keymap
from tui_prune.app.guided import JOBS, Clock, Way, WayStep, next_step, way_line, way_steps
from tui_prune.app.jobs import JobEnded, JobKind
from tui_prune.app.screens.work_keys import WorkKeys
from tui_prune.app.widgets.one_line import OneLine

if TYPE_CHECKING:
    from tui_prune.planning.plan import Plan

SHARES = ("target_macs", "target_params")
"""The targets that a suggestion can be asked for."""


class GuidedKeys(WorkKeys):
    """The part of the main screen that leads through target, suggestion, recovery and saving."""

    guided = False
    """Whether the steps are shown."""

    def __init__(self) -> None:
        super().__init__()
        self._clock = Clock()
        self._tried: dict[Way, Plan] = {}
        """The steps of recovery that were taken here, with the plan."""
        self._takes: tuple[Way, Plan] | None = None
        """The one that is being taken, and with which plan."""

    def _way_steps(self) -> tuple[WayStep, ...]:
        present = self.session.plan
        tried = [way for way, plan in self._tried.items() if plan is present]
        return way_steps(self.session, self.work.suggested, tried)

    def step_ended(self, event: JobEnded) -> None:
        """Take note of a step that has come to its end, whatever it has brought."""
        if event.job.kind is JobKind.RECOVERING:
            if self._takes is not None and event.failure is None and not event.stopped:
                way, plan = self._takes
                self._tried[way] = plan
            self._takes = None
            self.show_way()

    def show_way(self) -> None:
        """Bring the line of the steps up to date."""
        line = self.query_one("#way", OneLine)
        if line.display != self.guided:
            line.display = self.guided
        if not self.guided:
            return
        work, steps = self.work, self._way_steps()
        left = self._clock.left(work.job, work.doing)
        keys = [one.keys[0] for one in keymap.active(self) if one.binding.id == "guided"]
        key = keymap.key_name(keys[0]) if keys else ""
        line.show(lambda width: way_line(steps, work.job, work.doing, left, key, width))

    def leave_way(self) -> None:
        """Show the steps no longer; what they have brought stays."""
        self.guided = False
        self.show_way()

    def action_guided(self) -> None:
        self.guided = True
        self.show_way()
        if self.work.job is not None and self.work.job.kind in JOBS:
            return
        coming = next_step(self._way_steps())
        if coming is None:
            self.remark("all steps are done; esc leaves the way", "dim")
        elif coming is Way.TARGET:
            self.questions.target()
        elif coming is Way.SAVE:
            self.action_save()
        elif not self._has_task(self.action_guided):
            return
        elif coming is Way.SUGGEST:
            plan, recipe = self.session.plan, self.session.recipe
            wanted = {name: getattr(recipe, name) for name in recipe.targets if name in SHARES}
            self.work.suggest(**(wanted or {"target_macs": plan.after.macs / plan.before.macs}))
        else:
            self._takes, tunes = (coming, self.session.plan), coming is Way.FINE_TUNE
            self.work.recover(reconstruct=not tunes, recalibrate=False, finetune=tunes)
