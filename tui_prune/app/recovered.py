"""What there is to say of a recovered network whose weights may be lost: what is kept of a session are its choices."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_prune.wording import score

if TYPE_CHECKING:
    from tui_prune.result import Result
    from tui_prune.session import Session


def not_saved(session: "Session") -> str:
    """That the present plan was recovered and no file has the weights; empty where none would be lost."""
    found = session.unsaved_recovery
    if found is None:
        return ""
    reached = _reached(found)
    return f"The recovered weights{f' ({reached})' if reached else ''} are in no file: s saves them."


def to_keep(session: "Session") -> dict[str, Any] | None:
    """What `said_of` says the next time, as plain values; None where the present plan wasn't recovered."""
    found = session.recovered
    if found is None:
        return None
    file = session.saved_to if session.unsaved_recovery is None else None
    return {"score": _reached(found), "file": None if file is None else str(file)}


def said_of(kept: Any) -> str:
    """What became of a recovery of the last time, from what `to_keep` gave; empty where there was none."""
    if not isinstance(kept, dict) or not isinstance(kept.get("score"), str):
        return ""
    said, file = kept["score"] and f"{kept['score']} was reached by recovering; ", kept.get("file")
    if not isinstance(file, str):
        return f"{said or 'It was recovered; '}those weights were not saved: R recovers again."
    if not Path(file).is_file():
        return f"{said or 'It was recovered; '}those weights were in {Path(file).name}, which is gone."
    return f"{said or 'It was recovered; '}those weights are in {Path(file).name}."


def replaces(path: Path, session: "Session") -> str:
    """What is to be asked before a file is replaced: a recovered network is named where the new one is none."""
    from tui_prune.opening.pruned_file import report_in

    report = report_in(path) if session.recovered is None else {}
    if not report.get("recovered"):
        return "! The file is there already. Enter replaces it."
    accuracy = report.get("accuracy")
    figures = [accuracy.get(name) for name in ("recovered", "before")] if isinstance(accuracy, dict) else []
    known = len(figures) == 2 and all(isinstance(figure, (int, float)) for figure in figures)
    reached = f" ({score(*figures)})" if known else ""
    return f"! The file there was recovered{reached}; this one isn't. Enter replaces it."


def _reached(found: "Result") -> str:
    """The accuracy of a recovered network, in words; empty where nobody measured it."""
    accuracy = found.report.accuracy
    if accuracy is None or accuracy.recovered is None:
        return ""
    return score(accuracy.recovered, accuracy.before)
