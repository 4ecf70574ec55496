"""`images:DIR`: pictures without labels; how far a network's outputs agree with those of the uncut one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tui_prune import paths
from tui_prune.errors import UsageError
from tui_prune.loading.opened import OpenedModel
from tui_prune.tasks import building, preprocessing
from tui_prune.tasks.building import Counts, Parts, built, halved, spread
from tui_prune.tasks.feeding import outputs_of, picture_feed
from tui_prune.tasks.judging import Measure, measure_of
from tui_prune.tasks.pictures import Pictures, find_pictures, stamp
from tui_prune.tasks.preprocessing import preprocessing_of
from tui_prune.tasks.spec import Option, TaskSpec, one_of
from tui_prune.tasks.task import Task

COMPARE = Option(
    one_of(*(measure.value for measure in Measure)),
    " or ".join(measure.value for measure in Measure),
    "what is compared with the uncut network",
)
OPTIONS = {**preprocessing.OPTIONS, **building.OPTIONS, **building.PICTURE_OPTIONS, "compare": COMPARE}
COMPARED = {
    Measure.TOP1: "the class that the uncut network chooses",
    Measure.OUTPUTS: "1 - relative error of the outputs, beside the uncut network",
    Measure.BOXES: "boxes that the uncut network finds, too",
}


def task(spec: TaskSpec, choices: Mapping[str, Any]) -> Task:
    """Look for the pictures. Raises `UsageError` where there are none."""
    folder = Path(spec.path)
    if not paths.is_folder(folder):
        raise UsageError(f"There is no folder {folder} of pictures.")
    files = find_pictures(folder)
    if not files:
        raise UsageError(f"There are no pictures in {folder}.")
    return Task(spec=str(spec), bind=lambda opened: _bound(spec, choices, opened, files))


def _bound(spec: TaskSpec, choices: Mapping[str, Any], opened: OpenedModel, files: list[Path]) -> Task:
    feed, counts = picture_feed(opened), Counts.of(choices)
    wanted = preprocessing_of(opened, feed.shape, choices)
    measure = Measure(choices["compare"]) if "compare" in choices else measure_of(outputs_of(opened))
    here, there = halved([list(range(len(files)))])

    def pictures(groups: list[list[int]], most: int) -> Pictures:
        return Pictures([files[n] for n in spread(groups, most)], None, wanted, counts.workers)

    shown = pictures(here, counts.limit)
    fitted = pictures(there, counts.train)
    fitted = fitted if fitted.files else shown
    parts = Parts(shown, fitted)
    note = (
        f"{spec.kind}: {len(shown.files)} pictures to evaluate on ({COMPARED[measure]}), "
        f"{len(fitted.files)} others to calibrate and train; {wanted}."
    )
    return built(
        spec, opened, parts, counts, feed.item, measure,
        stamp=lambda: {"pictures": stamp(shown.files), "how": f"{measure.value} {wanted}"}, notes=(note,),
    )  # fmt: skip
