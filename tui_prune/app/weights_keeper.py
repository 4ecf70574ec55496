"""Keeps recovered weights beside the choices, so that a dropped line doesn't lose an hour of training, and takes them
up again. They are made ready by the thread that recovers, and written by another."""

import functools
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_prune.errors import Cancelled, TuiPruneError, UsageError
from tui_prune.progress import part, silent
from tui_prune.session.autosave import recovered_files
from tui_prune.session.autosave.networks import key
from tui_prune.session.autosave.writer import Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui_prune.loading.request import OpenRequest
    from tui_prune.planning.recipe import Recipe
    from tui_prune.progress import Progress
    from tui_prune.result import Result
    from tui_prune.session.autosave.saved_work import SavedWork
    from tui_prune.session.session import Session

_log = logging.getLogger(__name__)


class WeightsKeeper:
    """Keeps those of one session."""

    def __init__(self, session: "Session", request: "OpenRequest", failed: "Callable[[str], None]") -> None:
        """`failed` is called in some thread, with a sentence, when weights can't be kept."""
        self._session, self._network, self._tell = session, key(request), failed
        self._turns = Turns(self._failed)
        self._lock = threading.Lock()
        self._own: dict[Path, object] = {}
        """The files that this session has written or taken up, each with something that is another one whenever it is
        to be written anew."""
        self._said = ""
        self.took_up()
        session.keep_recovered = self._keep

    def took_up(self) -> None:
        """Take note that what the session holds now was kept before."""
        held = map(self._file, self._session.recoveries)
        with self._lock:
            self._own = {path: object() for path in held} | self._own

    def has(self, found: "Result") -> bool:
        """Whether a recovered network is on the disk, or about to be."""
        path = self._file(found)
        about_to_be = self._turns.pending(str(path))  # asked for first: it may be on the disk a moment later
        if path not in self._own or self._turns.failure(str(path)):
            return False
        return about_to_be or os.path.exists(path)  # what is too much for the folder goes, also by another process

    def settle(self) -> None:
        """Let go of the files of networks that the session no longer holds."""
        with self._lock:
            own = dict(self._own)  # before the look at what is held: another thread may hold and keep more after it
        if self._session.recovering:
            return
        held = {self._file(found) for found in self._session.recoveries}
        with self._lock:
            for path in own.keys() - held:
                if self._own.get(path) is own[path]:
                    del self._own[path]
                    self._turns.do(str(path), functools.partial(recovered_files.remove, path))

    def _keep(self, result: "Result") -> None:
        """In the thread that recovers, from within the user's own code."""
        path = self._file(result)
        try:
            checkpoint = self._session.packed(result)
        except Exception as error:  # nothing of this may end the user's training
            failure = error

            def write() -> None:
                raise failure
        else:

            def write() -> None:
                from tui_prune.saving import kept_weights

                octets = kept_weights.octets(checkpoint)
                recovered_files.write(path, octets, lambda part: kept_weights.fill(part, checkpoint))
                self._said = ""
                _log.info("kept recovered weights: %s", path.name)

        with self._lock:
            self._own[path] = write
            self._turns.do(str(path), write)

    def _file(self, result: "Result") -> Path:
        return recovered_files.file_of(self._network, result.plan.recipe.key)

    def _failed(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            self._tell(f"! recovered weights aren't kept for another time: {sentence}")


def kept_reports(request: "OpenRequest") -> list[Mapping[str, Any]]:
    """What the files say of the recovered networks that can be gone on with, newest first, where they can be read."""
    from tui_prune.archives.pruned_file import report_in

    return [*filter(None, map(report_in, recovered_files.files_of(key(request))))]


def report_of(recipe: "Recipe", reports: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """That of the network by a recipe."""
    return next((report for report in reports if _is_of(report, recipe)), None)


def _is_of(report: Mapping[str, Any], recipe: "Recipe") -> bool:
    try:
        return type(recipe).from_dict(report.get("recipe") or {}) == recipe
    except UsageError:  # of a version that knew other fields
        return False


def take_up(session: "Session", work: "SavedWork", progress: "Progress" = silent) -> list[str]:
    """Give a session the recovered networks that were kept beside the work that it goes on with. Those that don't fit
    it any more are moved out of the way, each with a sentence; those that fail by something else stay, with one, too.

    Raises `Cancelled`; what was taken up until then stays, and so do all files.
    """
    from tui_prune.archives.pruned_file import read_checkpoint

    network = key(work.request)
    present = recovered_files.file_of(network, session.recipe.key)
    oldest_first = recovered_files.files_of(network)[::-1]
    paths = sorted(oldest_first, key=lambda path: path == present)
    said = []
    try:
        if present in paths:
            session.cut(part(progress, 0.0, 0.3))  # it may find widths that the network's own code fixes, for all plans
    except Cancelled:
        raise
    except Exception as error:  # each file says for itself what it can't be taken up for
        _log.warning("the present plan can't be cut: %s: %s", type(error).__name__, error)
    for number, path in enumerate(paths):
        step = part(progress, 0.3 + 0.7 * number / len(paths), 0.3 + 0.7 * (number + 1) / len(paths))
        try:
            session.take_up(read_checkpoint(path), step)
        except Cancelled:
            raise
        except TuiPruneError as error:
            aside = recovered_files.set_aside(path)
            where = "" if aside is None else f" They are now in {aside}."
            said.append(f"Recovered weights can't be taken up: {error}{where}")
            _log.warning("%s", said[-1])
        except Exception as error:  # such as no memory left: another time it may go well
            reason = f"{type(error).__name__}: {error}".rstrip(": .")
            said.append(f"Recovered weights can't be taken up now: {reason}. They stay in {path}.")
            _log.exception("%s", said[-1])
    saved = (work.state.get("recovered") or {}).get("file")
    if isinstance(saved, str):
        with suppress(Exception):  # it is only to be said where they are
            session.recognise(read_checkpoint(saved))
    return said
