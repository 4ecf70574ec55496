"""`imagefolder:DIR`: a folder of pictures for each class, with `train/` and `val/` where there are both; top-1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tui_prune import paths
from tui_prune.errors import UsageError
from tui_prune.loading.opened import OpenedModel
from tui_prune.tasks import building, preprocessing
from tui_prune.tasks.building import Counts, Parts, built, halved, spread
from tui_prune.tasks.class_names import class_numbers
from tui_prune.tasks.feeding import outputs_of, picture_feed
from tui_prune.tasks.judging import Measure, logits
from tui_prune.tasks.pictures import Pictures, find_pictures, stamp
from tui_prune.tasks.preprocessing import preprocessing_of
from tui_prune.tasks.spec import Option, TaskSpec
from tui_prune.tasks.task import Task

OPTIONS = {
    **preprocessing.OPTIONS,
    **building.OPTIONS,
    **building.PICTURE_OPTIONS,
    "classes": Option(str, "a file", "names of the network's outputs, a line each, or as JSON"),
}
TRAINED_ON, TESTED_ON = ("train", "training"), ("val", "valid", "validation", "test", "testing")

Classes = dict[str, list[Path]]


def task(spec: TaskSpec, choices: Mapping[str, Any]) -> Task:
    """Look for the pictures. Raises `UsageError` where there are none."""
    folder = Path(spec.path)
    if not paths.is_folder(folder):
        raise UsageError(f"There is no folder {folder} of pictures.")
    tested, fitted = _parts(folder)
    return Task(spec=str(spec), bind=lambda opened: _bound(spec, choices, opened, tested, fitted))


def _parts(folder: Path) -> tuple[Classes, Classes | None]:
    """Pictures by class to evaluate on, and those to train on where they are apart."""
    inside = {entry.name.lower(): entry for entry in sorted(folder.iterdir()) if entry.is_dir()}
    tested = next((inside[name] for name in TESTED_ON if name in inside), None)
    fitted = next((inside[name] for name in TRAINED_ON if name in inside), None)
    if tested is None or fitted is None:
        return _by_class(folder), None
    return _by_class(tested), _by_class(fitted)


def _by_class(folder: Path) -> Classes:
    found = {entry.name: find_pictures(entry) for entry in sorted(folder.iterdir()) if entry.is_dir()}
    if not any(found.values()):
        raise UsageError(
            f"There are no pictures in folders of {folder}: imagefolder: wants a folder for each class. Pictures "
            "without labels are images:DIR."
        )
    return {name: files for name, files in found.items() if files}


def _bound(
    spec: TaskSpec, choices: Mapping[str, Any], opened: OpenedModel, tested: Classes, fitted: Classes | None
) -> Task:
    feed, counts = picture_feed(opened), Counts.of(choices)
    wanted = preprocessing_of(opened, feed.shape, choices)
    scores = logits(outputs_of(opened))
    if scores is None:
        raise UsageError(
            f"{opened.title} doesn't put out a score for each class, so imagefolder: can't tell what is right; "
            f"images:{spec.path} compares it with the uncut network."
        )
    names = sorted({*tested, *(fitted or ())})
    numbers = class_numbers(names, scores.shape[1], opened, choices.get("classes"))
    label_of = dict(zip(names, numbers, strict=True))
    files, labels, groups = _listed(tested, label_of)
    if fitted is None:
        here, there = halved(groups)
        rest = files, labels, there
    else:
        here, rest = groups, _listed(fitted, label_of)

    def pictures(files: Sequence[Path], labels: Sequence[int], groups: Sequence[Sequence[int]], most: int) -> Pictures:
        chosen = spread(groups, most)
        return Pictures([files[n] for n in chosen], [labels[n] for n in chosen], wanted, counts.workers)

    shown = pictures(files, labels, here, counts.limit)
    others = pictures(*rest, counts.train)
    others = others if others.files else shown
    parts = Parts(shown, others)
    note = (
        f"{spec.kind}: {len(shown.files)} pictures of {len(tested)} classes to evaluate on, "
        f"{len(others.files)} others to calibrate and train; {wanted}."
    )
    return built(
        spec, opened, parts, counts, feed.item, Measure.TOP1,
        stamp=lambda: {"pictures": stamp(shown.files), "how": str(wanted)}, notes=(note,),
    )  # fmt: skip


def _listed(classes: Classes, label_of: Mapping[str, int]) -> tuple[list[Path], list[int], list[list[int]]]:
    """All pictures with their labels, and the numbers of those of each class."""
    files: list[Path] = []
    labels: list[int] = []
    groups = []
    for name, own in classes.items():
        groups.append(list(range(len(files), len(files) + len(own))))
        files += own
        labels += [label_of[name]] * len(own)
    return files, labels, groups
