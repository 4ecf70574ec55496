"""Which output of a network a folder of pictures means."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from tui_prune import paths
from tui_prune.errors import UsageError
from tui_prune.loading.opened import OpenedModel
from tui_prune.tasks.preprocessing import torchvision_weights

IMAGENET = 1000
_WORDNET = re.compile(r"n\d{8}")
SHOWN = 5


def class_numbers(names: Sequence[str], outputs: int, opened: OpenedModel, file: str | None) -> list[int]:
    """The output of each class, given sorted folder names: by a file of names; by their order where there are as many;
    else by the names of the published weights' classes, or by numbers.

    Raises `UsageError` where that can't be told.
    """
    if file is not None:
        return _looked_up(names, _of_file(file, outputs), f"the names in {file}")
    if len(names) == outputs:
        if all(name.isdecimal() for name in names) and {int(name) for name in names} == set(range(outputs)):
            return [int(name) for name in names]  # "10" is sorted before "2"
        return list(range(outputs))
    if len(names) > outputs:
        raise UsageError(
            f"There are {len(names)} folders and only {outputs} outputs of {opened.title}: it can't tell these classes "
            "apart."
        )
    if all(name.isdecimal() and int(name) < outputs for name in names):
        return [int(name) for name in names]
    known = _wordnet_ids() if all(map(_WORDNET.fullmatch, names)) and outputs == IMAGENET else ()
    known = known or _published(opened, outputs)
    if not known:
        raise UsageError(
            f"{opened.title} has {outputs} outputs and there are {len(names)} folders: say which is which with "
            "classes=FILE, names of all outputs in their order, a line each."
        )
    return _looked_up(names, known, "the names of the published weights' classes")


def _published(opened: OpenedModel, outputs: int) -> list[tuple[str, ...]]:
    """Names of each output that published weights of this network would have; none where nobody knows."""
    weights = torchvision_weights(opened) if opened.origin.kind == "torchvision" else None
    names = [] if weights is None else list(weights.meta.get("categories", ()))
    if len(names) != outputs and outputs == IMAGENET:
        from torchvision.models import ResNet18_Weights

        names = list(ResNet18_Weights.DEFAULT.meta["categories"])
    if len(names) != outputs:
        return []
    return [(name,) for name in names]


def _wordnet_ids() -> Sequence[tuple[str, ...]]:
    """Of ImageNet's classes ("n01440764"), where timm is installed, which has the list."""
    if find_spec("timm") is None:
        return ()
    return [(name,) for name in import_module("timm.data").ImageNetInfo().label_names()]


def _of_file(file: str, outputs: int) -> list[tuple[str, ...]]:
    """Names of each output: a line each, or JSON (a list, or a dict by number as Keras's imagenet_class_index.json)."""
    path = paths.absolute(file)
    if not paths.is_file(path):
        raise UsageError(paths.not_a_file(path, file, "file of classes"))
    try:
        text = path.read_text(encoding="utf-8")
        entries = _entries(json.loads(text)) if path.suffix == ".json" else text.splitlines()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file} is no file of class names: {error}.") from error
    while entries and not entries[-1]:
        entries = entries[:-1]
    if len(entries) != outputs:
        raise UsageError(f"{file} names {len(entries)} classes; the network has {outputs} outputs.")
    return [tuple(_aliases(entry)) for entry in entries]


def _entries(content: Any) -> list[Any]:
    if isinstance(content, dict):
        return [content[str(number)] for number in range(len(content))]
    return list(content)


def _aliases(entry: Any) -> Iterable[str]:
    """Names in a line: all of it, its parts between tabs and commas, and WordNet's number at its beginning."""
    if isinstance(entry, (list, tuple)):
        yield from map(str, entry)
        return
    line = str(entry).strip()
    yield line
    first, _, rest = line.partition(" ")
    if _WORDNET.fullmatch(first):
        yield first
        line = rest
    yield from (part.strip() for part in re.split(r"[,\t]", line))


def _looked_up(names: Sequence[str], known: Sequence[Iterable[str]], where: str) -> list[int]:
    numbers: dict[str, set[int]] = {}
    for number, own in enumerate(known):
        for name in own:
            numbers.setdefault(_plain(name), set()).add(number)
    missing = [name for name in names if not numbers.get(_plain(name))]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise UsageError(
            f"{', '.join(missing[:SHOWN])}{more} {'is' if len(missing) == 1 else 'are'} not among {where}; "
            "classes=FILE names the outputs in their order."
        )
    unsure = next((name for name in names if len(numbers[_plain(name)]) > 1), None)
    if unsure is not None:
        raise UsageError(f"{unsure} may mean several outputs by {where}; classes=FILE tells them apart.")
    found = [next(iter(numbers[_plain(name)])) for name in names]
    twice = [number for number, count in Counter(found).items() if count > 1]
    if twice:
        same = [name for name, number in zip(names, found, strict=True) if number == twice[0]]
        raise UsageError(f"The folders {' and '.join(same)} mean the same output by {where}.")
    return found


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().casefold()
