"""What there is to say of a recovered network and of where its weights are."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tui_prune import paths
from tui_prune.formatting import score

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui_prune.result import Result
    from tui_prune.session.session import Session


def not_saved(session: "Session") -> str:
    """The recovered weights of the present plan that no checkpoint has, in words: "the recovered weights (97.1 %)";
    empty where there are none."""
    found = session.unsaved_recovery
    if found is None:
        return ""
    reached = _reached(found)
    return f"the recovered weights{f' ({reached})' if reached else ''}"


def in_words(session: "Session") -> str:
    """How the present plan was recovered: "recalibrated and fine-tuned, 97.1 %"; empty where it wasn't."""
    found = session.recovered
    if found is None:
        return ""
    steps = " and ".join(dict.fromkeys(found.report.recovered))
    return ", ".join(filter(None, (steps, _reached(found))))


def are_back(session: "Session") -> str:
    """That recovered weights were taken up again; empty where there are none."""
    if not session.recoveries:
        return ""
    found = session.recovered
    reached = "" if found is None else _reached(found)
    whose = "" if found is not None else f" of {len(session.recoveries)} other plan{'s'[: len(session.recoveries) - 1]}"
    return f"the recovered weights{whose} are back{f': {reached}' if reached else ''}"


def to_keep(session: "Session") -> dict[str, Any] | None:
    """What `said_of` says the next time, as plain values; None where the present plan wasn't recovered."""
    found = session.recovered
    if found is None:
        return None
    file = session.recovery_file(found)
    return {"score": _reached(found), "file": None if file is None else str(file)}


def said_of(kept: Any, report: "Mapping[str, Any] | None", others: int = 0) -> str:
    """What became of a recovery of the last time, from what `to_keep` gave, and from the report in the file of its
    weights, if there is one; and of so many others. Empty where there was none."""
    kept = kept if isinstance(kept, dict) and isinstance(kept.get("score"), str) else None
    more = (
        f"The recovered weights of {others} other plan{'s' * (others != 1)} are kept{', too' * bool(kept or report)}."
    )
    if kept is None and report is None:
        return more if others else ""
    file = None if kept is None else kept.get("file")
    reached = kept["score"] if report is None else _reported(report)
    said = f"{reached} was reached by recovering; " if reached else "It was recovered; "
    if isinstance(file, str) and paths.is_file(file):
        said += f"those weights are in {Path(file).name}{'' if report is None else ', and kept, too'}."
    elif report is not None:
        said += "those weights are kept, too."
    elif isinstance(file, str):
        said += f"those weights were in {Path(file).name}, which is gone."
    else:
        said += "those weights aren't there any more: R recovers again."
    return f"{said} {more}" if others else said


def replaces(path: Path, session: "Session") -> str:
    """What is to be asked before a file is replaced: a recovered network is named where the new one is none."""
    from tui_prune.archives.pruned_file import report_in

    report = report_in(path) if session.recovered is None else {}
    if not report.get("recovered"):
        return "! The file is there already. Enter replaces it."
    reached = _reported(report)
    return f"! The file there was recovered{f' ({reached})' if reached else ''}; this one isn't. Enter replaces it."


def _reported(report: "Mapping[str, Any]") -> str:
    """The accuracy of the recovered network that a report is of, in words; empty where it doesn't say."""
    accuracy = report.get("accuracy")
    figures = [accuracy.get(name) for name in ("recovered", "before")] if isinstance(accuracy, dict) else []
    known = len(figures) == 2 and all(isinstance(figure, (int, float)) for figure in figures)
    return score(figures[0], cast(float, figures[1])) if known else ""


def _reached(found: "Result") -> str:
    """The accuracy of a recovered network, in words; empty where nobody measured it."""
    accuracy = found.report.accuracy
    if accuracy is None or accuracy.recovered is None:
        return ""
    return score(accuracy.recovered, accuracy.before)
