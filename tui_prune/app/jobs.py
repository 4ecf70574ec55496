"""Long work off the event loop: how it reports, how it is stopped, and what becomes of a failure."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from textual import work
from textual.message import Message
from textual.message_pump import MessagePump
from textual.worker import Worker, get_current_worker

from tui_prune.errors import Cancelled, Remedy, TuiPruneError, UsageError, said_of
from tui_prune.formatting import seconds
from tui_prune.memory import said_of_memory

if TYPE_CHECKING:
    from tui_prune.session.session import Session
    from tui_prune.session.state import Outcome

_log = logging.getLogger(__name__)

UNSAID = "work in a thread"
"""Describes a worker. Left without words, Textual writes out what it is given: a plan with all of its weights."""

INTERVAL = 0.1
"""Seconds between two reports of the same stage, so that a thin line isn't filled with them."""


class JobKind(Enum):
    """What a job does: in words, and the stages of it that these words say already."""

    VERIFYING = "verifying", "verify"
    EVALUATING = "evaluating", "evaluate"
    MEASURING = "measuring", "measure", "measure layers", "measure widths", "measure a cut"
    RECOVERING = ("recovering",)
    SCANNING = ("scanning",)
    SUGGESTING = "suggesting", "suggest"
    READING_ERRORS = "reading", "read"
    READING_TASK = "reading the task", "read"
    CALIBRATING = "calibrating", "calibrate"
    EVALUATING_PLANS = "evaluating plans", "evaluate"
    TIMING_PLANS = ("timing plans",)
    SAVING = ("saving",)
    OPENING = "opening", "open"
    GOING_ON = ("going on",)
    STARTING_ANEW = ("starting anew",)
    LIVE = ("live accuracy",)

    def __init__(self, words: str, *stages: str) -> None:
        self.words, self.stages = words, stages


@dataclass(frozen=True, eq=False)
class Job:
    """Some work that takes a progress callback. Its reports carry it, to be told from those of the job before it."""

    kind: JobKind
    work: Callable[["Progress"], Any]

    @property
    def words(self) -> str:
        """What is being done."""
        return self.kind.words


class JobProgressed(Message):
    """A job got further."""

    def __init__(self, job: Job, stage: str, done: float) -> None:
        super().__init__()
        self.job, self.stage, self.done = job, stage, done

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, JobProgressed)


class JobEnded(Message):
    """A job has its outcome; or it was stopped, or it failed with a sentence that says why."""

    def __init__(
        self,
        job: Job,
        outcome: Any = None,
        *,
        failure: str | None = None,
        wrong_use: bool = False,
        remedies: Collection[Remedy] = (),
        stopped: bool = False,
        traceback: str | None = None,
    ) -> None:
        super().__init__()
        self.job, self.outcome, self.stopped = job, outcome, stopped
        self.failure, self.wrong_use, self.remedies = failure, wrong_use, remedies
        self.traceback = traceback
        """Of the user's own exception behind the failure, as text."""


class Progress:
    """The callback that a job is given: it posts where the job is, and raises `Cancelled` once the job should stop."""

    def __init__(self, job: Job, worker: Worker[Any], post: Callable[[Message], Any]) -> None:
        self._job, self._worker, self._post = job, worker, post
        self._last = ("", 0.0)

    def __call__(self, stage: str, done: float) -> None:
        if self._worker.is_cancelled:
            raise Cancelled
        now = time.monotonic()
        last_stage, last_time = self._last
        if stage != last_stage or now - last_time >= INTERVAL:
            self._last = (stage, now)
            self._post(JobProgressed(self._job, stage, done))


class RunsJobs:
    """To be put before a screen: does its jobs in a thread, one at a time."""

    @work(exclusive=True, group="job", exit_on_error=False, description=UNSAID)
    async def run_job(self, job: Job) -> None:
        """Do a job; `JobProgressed` and `JobEnded` tell of it."""
        await in_a_thread(job, self.post_message)  # type: ignore[attr-defined]


def taken_in(session: "Session", pump: MessagePump) -> "Callable[[Outcome], None]":
    """What long work delivers its outcomes to: the session takes them in on the event loop, each before the message
    that the same screen gets of what comes after it."""

    def deliver(outcome: "Outcome") -> None:
        if not pump.call_later(session.accept, outcome):  # the screen has been left
            session.accept(outcome)

    return deliver


class JobThread(threading.Thread):
    """Does one job. Those of the event loop's own pool would be used up by code of the user's that never ends."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(target=work, daemon=True)


async def in_a_thread(job: Job, post: Callable[[Message], Any]) -> None:
    """Carry a job out in a thread of its own. Cancelled, this waits no longer, even where the job can't be stopped."""
    worker, loop = get_current_worker(), asyncio.get_running_loop()
    over = asyncio.Event()

    def work() -> None:
        try:
            carry_out(job, worker, post)
        finally:
            with suppress(RuntimeError):  # the app has left, and its loop is closed
                loop.call_soon_threadsafe(over.set)

    JobThread(work).start()
    await over.wait()


def carry_out(job: Job, worker: Worker[Any], post: Callable[[Message], Any]) -> None:
    """Do a job in this thread and post how it ended. Nothing that it raises gets further than this."""
    started = time.monotonic()
    _log.info("%s: started", job.words)

    def ended(how: str) -> str:
        return f"{job.words}: {how} after {seconds(time.monotonic() - started)}"

    try:
        outcome = job.work(Progress(job, worker, post))
    except Cancelled:
        _log.info(ended("stopped"))
        post(JobEnded(job, stopped=True))
    except TuiPruneError as error:
        _log.warning("%s: %s", ended("failed"), error)
        from tui_prune.app import tracebacks

        post(
            JobEnded(
                job,
                failure=str(error),
                wrong_use=isinstance(error, UsageError),
                remedies=error.remedies,
                traceback=tracebacks.of_error(error),
            )
        )
    except BaseException as error:  # of other people's code too: a thread that ends in silence would be waited for
        words = said_of_memory(error)
        if words is not None:
            _log.warning("%s: %s", ended("failed"), error)
            post(JobEnded(job, failure=words))
            return
        _log.exception(ended("failed"))
        from tui_prune.app import crashes

        path = crashes.write(error)
        post(JobEnded(job, failure=f"{said_of(error)}. This is a fault of tui-prune; the report is {path}"))
    else:
        _log.info(ended("done"))
        post(JobEnded(job, outcome))
