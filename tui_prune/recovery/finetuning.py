"""Fine-tuning through the task's own loop, of which the best state is kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tui_prune import formatting
from tui_prune.errors import Cancelled, TuiPruneError, UsageError
from tui_prune.loading.fitting import named_tensors
from tui_prune.progress import Progress, silent
from tui_prune.result import TuningPoint
from tui_prune.tasks.stopping import Breaker
from tui_prune.tasks.task import Task, user_traceback

EVALUATIONS = 8
"""So often a loop that reports no accuracy is evaluated on its way."""
SNAPSHOTS = 16
"""So many states of a loop that nothing judges are kept, each in place of the one before."""

REST, SHARE = 30.0, 0.05
"""Seconds between two states that are handed over on the way, at the least, and the most of the time that may take."""

Shown = Callable[[TuningPoint], object]
SoFar = Callable[[Mapping[str, Tensor], "float | None"], object]
"""Takes all parameters and buffers by all their names, and what `evaluate` says of them where that is known."""
Settling = Callable[[nn.Module, Progress], object]


@dataclass(frozen=True, eq=False)
class Tuned:
    """What has come of fine-tuning."""

    values: Mapping[str, Tensor] | None
    """Of the best state: all parameters and buffers by all their names. None: the first state is the best."""
    accuracy: float | None
    """What the task's `evaluate` says of them, where it was asked."""
    curve: tuple[TuningPoint, ...]
    note: str
    """Why it ended early, or which state is the best if not the last; empty where there is nothing to say."""
    traceback: str | None = None
    """Of the user's own exception, where the loop has failed."""
    unsettled: float | None = None
    """The accuracy before these values were settled; None: they are the loop's own."""


def finetune(
    model: nn.Module,
    task: Task,
    *,
    accuracy: float | None = None,
    settling: Settling | None = None,
    progress: Progress = silent,
    shown: Shown | None = None,
    so_far: SoFar | None = None,
) -> Tuned:
    """Run the task's `finetune(model, progress)` on a model that it may change, and give back the best state it had.

    The best is the one with the highest accuracy: the loop's own where it reports any, else that of `evaluate`, which
    is asked up to `EVALUATIONS` times; of the first accuracy that the loop reports it is asked once, whether it says
    the same. In the end `evaluate` also compares with the last state and with the first,
    whose `accuracy` it said before. Where nothing judges, the last state is the best.

    `settling` changes a trained network in place, such as by estimating its batch-norm statistics anew. Where the loop
    comes to its end and there is `evaluate`, it is tried on the last state and on the best, and counts where it makes
    for a better one.

    When the loop is cancelled (`progress` raises), fails, or its loss is no longer a number, the best state so far is
    given back with a note. `shown` sees each point of the curve as it is reported; `so_far`, now and then, the state
    that would be given back if it ended there.

    Raises `UsageError` without such a function; `Cancelled` or `TuiPruneError` where there is nothing better to give
    back than the first state.
    """
    if task.finetune is None:
        raise UsageError(f"{task.name} has no function finetune(model, progress).")
    loop = _Loop(model, task, accuracy, settling, progress, shown, so_far)
    for module in model.modules():
        module.training = True
    try:
        with (
            torch.enable_grad(),
            loop.breaker.breaking(model, loop.ask),
            task.own_errors("in finetune(model, progress)"),
        ):
            task.finetune(model, loop.report)
        last = loop.last()
    except TuiPruneError as error:
        return loop.cut_short(error)
    return loop.finished(last)


class _Diverged(TuiPruneError):
    """The loss is no longer a number."""


@dataclass(frozen=True, eq=False)
class _State:
    values: Mapping[str, Tensor]
    done: float
    reports: int
    """How often the loop had reported before."""
    score: float | None = None
    unsettled: float | None = None
    """Its score before it was settled."""

    @property
    def known_score(self) -> float:
        """Its score; below all others where it has none."""
        return -math.inf if self.score is None else self.score


class _Loop:
    """One run of the user's loop: what it reports, and the best state."""

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        accuracy: float | None,
        settling: Settling | None,
        progress: Progress,
        shown: Shown | None,
        so_far: SoFar | None,
    ) -> None:
        self.breaker = Breaker()
        self._settling = settling
        self._so_far, self._next = so_far, time.monotonic()
        self._handed_over: _State | None = None
        self._model, self._task, self._progress, self._shown = model, task, progress, shown
        self._first_score = accuracy
        self._shapes = shapes_of(model)
        self._infinite = {
            name: ~tensor.isfinite() for name, tensor in named_tensors(model) if not bool(tensor.isfinite().all())
        }
        """Where a network's numbers aren't finite to begin with, as in the mask of an attention."""
        self._curve: list[TuningPoint] = []
        self._done = 0.0
        self._evaluations = 0
        self._evaluating = False
        self._reporting = False
        """Whether the loop reports accuracies itself; then they may mean something else than those of `evaluate`."""
        self._says_the_same = False
        """Whether the first of them is what `evaluate` says of that state, too."""
        self._best: _State | None = None
        self._latest: _State | None = None
        """Of a loop that nothing judges."""

    # What the user's loop calls

    def report(self, done: Any, loss: Any = None, accuracy: Any = None) -> None:
        """`progress(done, loss=None, accuracy=None)`: the share that is done, 0 to 1, and how it goes."""
        self.breaker.step(lambda: self._take(done, loss, accuracy))

    def ask(self) -> None:
        """Before each forward pass: whether to go on."""
        if not self._evaluating:
            self._progress("fine-tune", self._done)
            self._hand_over()

    def _take(self, done: Any, loss: Any, accuracy: Any) -> None:
        try:
            done, loss, accuracy = map(_number, (done, loss, accuracy))
        except (TypeError, ValueError) as error:
            raise self._misused() from error
        if done is None or not 0 <= done <= 1.001:
            raise self._misused()
        self._done = min(done, 1.0)
        for what, value in (("loss", loss), ("accuracy", accuracy)):
            if value is not None and not math.isfinite(value):
                raise _Diverged(
                    f"Fine-tuning by {self._task.name} led to a {what} of {value} at {self._place}: "
                    "lower its learning rate."
                )
        before = self._best
        judged = self._judged(accuracy)
        better = self._best is not None and self._best is not before and not self._worse(self._best)
        point = TuningPoint(self._done, loss, accuracy if judged is None else judged, better)
        self._curve.append(point)
        if self._shown is not None:
            self._shown(point)
        self.ask()

    def _misused(self) -> TuiPruneError:
        return TuiPruneError(
            f"finetune() of {self._task.name} should call progress(done, loss=None, accuracy=None), "
            "where done is the share of the work that is done, from 0 to 1."
        )

    @property
    def _place(self) -> str:
        return f"{100 * self._done:.0f} %"

    # What is kept

    def _judged(self, accuracy: float | None) -> float | None:
        """Keep the present state if it is the best so far; gives its accuracy where that is known."""
        if accuracy is not None and not self._reporting:
            self._reporting, self._best = True, None  # what evaluate has said of it may mean something else
            self._says_the_same = self._first_score is not None and math.isclose(self._evaluate(), accuracy)
        elif accuracy is None and self._task.evaluate is not None and not self._reporting:
            due = math.floor(self._done * EVALUATIONS)
            if due > self._evaluations and self._done < 1:
                self._evaluations = due
                accuracy = self._evaluate()
        elif accuracy is None and not self._reporting:
            before = -1 if self._latest is None else math.floor(self._latest.done * SNAPSHOTS)
            if math.floor(self._done * SNAPSHOTS) > before:
                self._latest = self._state() or self._latest
        if accuracy is not None and (self._best is None or accuracy >= self._best.known_score):
            self._best = self._state(accuracy) or self._best
        return accuracy

    def _hand_over(self) -> None:
        """Let somebody have the state that would be kept if it ended now, unless they had one a moment ago."""
        state = self._best or (self._latest if self._task.evaluate is None else None)
        started = time.monotonic()
        if self._so_far is None or state is None or state is self._handed_over or started < self._next:
            return
        if state.done == state.reports == 0 or self._worse(state):
            return
        self._handed_over = state
        self._evaluating = True
        try:
            self._so_far(state.values, state.score if self._comparable and self._task.evaluate is not None else None)
        finally:
            self._evaluating = False
        took = time.monotonic() - started
        self._next = started + took + max(REST, took / SHARE)

    def _state(self, score: float | None = None) -> _State | None:
        """The present state; None where it is none to go back to."""
        values = {name: tensor.detach().clone() for name, tensor in named_tensors(self._model)}
        if {name: tensor.shape for name, tensor in values.items()} != self._shapes:
            return None
        finite = all(
            bool((tensor.isfinite() | self._infinite.get(name, False)).all())
            for name, tensor in values.items()
            if tensor.is_floating_point()
        )
        return _State(values, self._done, len(self._curve), score) if finite else None

    def _worse(self, state: _State) -> bool:
        """Whether a state is known to be worse than the first."""
        first = self._first_score
        return self._comparable and first is not None and state.score is not None and state.score < first

    @property
    def _comparable(self) -> bool:
        """Whether the scores on the way are those of `evaluate`."""
        return not self._reporting or self._says_the_same

    def _evaluate(self) -> float:
        self._evaluating = True
        try:
            return self._task.score_aside(self._model, lambda stage, _: self._progress(stage, self._done))
        finally:
            self._evaluating = False

    # How it ends

    def last(self) -> _State:
        """The state that the loop has left. Raises `TuiPruneError` where that is none."""
        check_unchanged(self._shapes, self._model, self._task)
        self._done = 1.0
        state = self._state()
        if state is None:
            raise _Diverged(
                f"Fine-tuning by {self._task.name} has left weights that aren't finite: lower its learning rate."
            )
        return state

    def finished(self, last: _State) -> Tuned:
        """The loop has returned: the best of its last state, its best one on the way, and the first."""
        best = self._best
        if self._task.evaluate is None:
            if best is not None and best.done == best.reports == 0:
                note = "Fine-tuning made it no better on inputs that were held out, so it was undone."
                return Tuned(None, None, tuple(self._curve), note)
            return self._tuned(best or last, evaluated=False)
        try:
            states = self._compared(last, best)
        except TuiPruneError as error:
            why = "it was stopped." if isinstance(error, Cancelled) else str(error)
            note = f"The last evaluation of the fine-tuned network didn't come to an end: {why}"
            return self._tuned(best or last, note, evaluated=self._comparable)
        best, note = self._settled(states)
        if self._first_score is not None and best.known_score < self._first_score:
            scores = best.known_score, self._first_score
            worse, before = (formatting.score(value, self._first_score) for value in scores)
            note = f"Fine-tuning made it worse ({worse}, {before} before), so it was undone."
            return Tuned(None, self._first_score, tuple(self._curve), note)
        return self._tuned(best, note)

    def _compared(self, last: _State, best: _State | None) -> list[_State]:
        """The last state and, where it is another, the best on the way, with what `evaluate` says of them; the better
        one first."""
        scored = replace(last, score=self._evaluate())
        if best is None or _same(last, best):
            return [scored]
        if self._reporting:
            _restore(self._model, best)
            best = replace(best, score=self._evaluate())
        return [best, scored] if best.known_score > scored.known_score else [scored, best]

    def _settled(self, states: Sequence[_State]) -> tuple[_State, str]:
        """The best of some states and of what settling makes of them, the first of them being the better one; and why
        it couldn't be tried, if so."""
        best = states[0]
        if self._settling is None:
            return best, ""
        try:
            for state in states:
                _restore(self._model, state)
                self._settling(self._model, lambda stage, _: self._progress(stage, self._done))
                score = self._evaluate()
                if score > best.known_score:
                    values = {name: tensor.detach().clone() for name, tensor in named_tensors(self._model)}
                    best = replace(state, values=values, score=score, unsettled=state.score)
        except TuiPruneError as error:
            why = "That was stopped." if isinstance(error, Cancelled) else str(error)
            return best, f"Batch norm wasn't recalibrated after the fine-tuning. {why}"
        return best, ""

    def cut_short(self, error: TuiPruneError) -> Tuned:
        """The loop has ended early: the best state so far. Raises the error where there is none."""
        best = self._best
        if best is None and self._task.evaluate is None:
            best = self._latest if isinstance(error, _Diverged) else self._state() or self._latest
        if best is None or best.done == best.reports == 0 or self._worse(best):
            raise error
        why = f"Fine-tuning was stopped at {self._place}." if isinstance(error, Cancelled) else str(error)
        whose = "" if best.done == self._done else f", from {100 * best.done:.0f} %,"
        tuned = self._tuned(best, f"{why} The best network up to then{whose} is kept.", evaluated=self._comparable)
        return replace(tuned, traceback=user_traceback(error))

    def _tuned(self, best: _State, note: str = "", *, evaluated: bool = True) -> Tuned:
        if not note and best.done < 1:
            note = f"The best network was that of {100 * best.done:.0f} % of the fine-tuning; it is kept."
        score = best.score if evaluated else None
        return Tuned(best.values, score, tuple(self._curve), note, unsettled=best.unsettled)


def shapes_of(model: nn.Module) -> dict[str, torch.Size]:
    """Of all parameters and buffers, by all their names."""
    return {name: tensor.shape for name, tensor in named_tensors(model)}


def check_unchanged(before: Mapping[str, torch.Size], model: nn.Module, task: Task) -> None:
    """Raises `TuiPruneError` where a loop has changed the network itself: these were the shapes of its tensors."""
    shapes = shapes_of(model)
    other = next((name for name in {**before, **shapes} if shapes.get(name) != before.get(name)), None)
    if other is not None:
        raise TuiPruneError(
            f"finetune() of {task.name} has changed the network itself ({other}); it should only train the weights "
            "that are there."
        )


def _number(value: Any) -> float | None:
    return None if value is None else float(value.detach() if isinstance(value, Tensor) else value)


def _same(one: _State, other: _State) -> bool:
    return all(torch.equal(one.values[name], other.values[name]) for name in one.values)


@torch.no_grad()
def _restore(model: nn.Module, state: _State) -> None:
    for name, tensor in named_tensors(model):
        tensor.copy_(state.values[name])
