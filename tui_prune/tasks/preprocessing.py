"""What is done to a picture before a network sees it, by the network's own source, or as the user says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tui_prune.errors import UsageError
from tui_prune.loading.building import default_input_spec
from tui_prune.loading.opened import OpenedModel
from tui_prune.models import NETWORKS
from tui_prune.tasks.decoding import INTERPOLATIONS, Geometry
from tui_prune.tasks.spec import Option, one_of, parse, whole_number

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _size(text: str) -> tuple[int, int]:
    numbers = [whole_number(part) for part in text.lower().split("x")]
    if len(numbers) not in (1, 2) or not all(numbers):
        raise ValueError(text)
    return numbers[0], numbers[-1]


def _channels(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split("/"))


OPTIONS = {
    "size": Option(_size, "a number of pixels, or HEIGHTxWIDTH", "what the network sees"),
    "resize": Option(whole_number, "a number of pixels", "the shorter side before the middle is cut out"),
    "fit": Option(one_of("crop", "stretch"), "crop or stretch", "cut the middle out, or take all of the picture"),
    "interpolation": Option(one_of(*INTERPOLATIONS), " or ".join(INTERPOLATIONS), "how pictures are resized"),
    "mean": Option(_channels, "a number, or one a channel: 0.5/0.5/0.5", "subtracted from values of 0 to 1"),
    "std": Option(_channels, "a number, or one a channel: 0.2/0.2/0.2", "by which they are divided then"),
}
"""Each is by the network's own source where it isn't given."""


@dataclass(frozen=True)
class Preprocessing:
    """Size and normalisation of pictures."""

    geometry: Geometry
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)
    source: str = ""
    """Who says so."""

    def __str__(self) -> str:
        """What is done, in words and in the options' own form."""
        geometry = self.geometry
        size = f"{geometry.height}x{geometry.width}"
        how = "stretched" if geometry.fit == "stretch" else f"cut out of {geometry.resize or size}"
        mean, deviation = ("/".join(f"{value:g}" for value in values) for values in (self.mean, self.deviation))
        normalised = f"mean {mean}, std {deviation}"
        return f"{size}, {how}, {geometry.interpolation}, {normalised} ({self.source})"

    def normalised(self, pixels: Tensor) -> Tensor:
        """Of bytes (N, channels, height, width) what the network takes."""
        shape = (1, -1, 1, 1)
        mean, deviation = (torch.tensor(values, device=pixels.device) for values in (self.mean, self.deviation))
        return (pixels.float() / 255 - mean.view(shape)) / deviation.view(shape)


def preprocessing_of(opened: OpenedModel, shape: tuple[int, int, int], choices: Mapping[str, Any]) -> Preprocessing:
    """What a network wants done to pictures, with the user's own choices over it.

    `shape` is what its example input has: channels, height and width. Raises `UsageError` for a choice that doesn't
    fit.
    """
    found = _by_source(opened, shape)
    channels, geometry = shape[0], replace(found.geometry, channels=shape[0])
    if channels not in (1, 3):
        raise UsageError(f"{opened.title} takes pictures of {channels} channels; pictures from files have 1 or 3.")
    if "size" in choices:
        height, width = choices["size"]
        before = max(geometry.height, geometry.width)
        geometry = replace(
            geometry, height=height, width=width, resize=round(geometry.resize * max(height, width) / before)
        )
    own = {name: choices[name] for name in ("resize", "fit", "interpolation") if name in choices}
    mean, deviation = choices.get("mean", found.mean), choices.get("std", found.deviation)
    if channels == 1:
        mean, deviation = ((sum(values) / len(values),) for values in (mean, deviation))
    for name, values in (("mean", mean), ("std", deviation)):
        if len(values) not in (1, channels) or (name == "std" and 0 in values):
            raise UsageError(
                f"{name} takes one number, or one for each of the {channels} channels, and no zero in std."
            )
    changed = {"mean", "std", *own, "size"} & choices.keys()
    source = f"{found.source}; {', '.join(sorted(changed))} as asked for" if changed else found.source
    return Preprocessing(replace(geometry, **own), mean, deviation, source)


def _by_source(opened: OpenedModel, shape: tuple[int, int, int]) -> Preprocessing:
    """What timm's settings, torchvision's weights or a bundled network's entry say; else ImageNet's normalisation."""
    geometry = Geometry(shape[1], shape[2], 0)
    settings = getattr(opened.module, "pretrained_cfg", None)
    if settings is not None and _setting(settings, "mean"):
        return _of_timm(settings, geometry)
    if opened.origin.kind == "torchvision":
        found = _of_torchvision(opened, geometry)
        if found is not None:
            return found
    own = NETWORKS[opened.origin.name].pictures if opened.origin.kind == "bundled" else ""
    if own:
        spec = parse(f"images:,{own}")
        assert spec is not None
        said = spec.choices(OPTIONS)
        return Preprocessing(
            replace(geometry, fit=said["fit"], interpolation=said["interpolation"]),
            said["mean"], said["std"], f"as {opened.origin.name} was trained",
        )  # fmt: skip
    return Preprocessing(
        geometry, IMAGENET_MEAN, IMAGENET_DEVIATION, "ImageNet's; the network doesn't say, mean= and std= change it"
    )


def _of_timm(settings: Any, geometry: Geometry) -> Preprocessing:
    share = _setting(settings, "crop_pct") or 1.0
    fit = "stretch" if _setting(settings, "crop_mode") == "squash" else "crop"
    name = _setting(settings, "interpolation")
    geometry = replace(
        geometry,
        resize=int(max(geometry.height, geometry.width) / share),
        fit=fit,
        interpolation=name if name in INTERPOLATIONS else "bicubic",
    )
    mean, deviation = (tuple(_setting(settings, name)) for name in ("mean", "std"))
    return Preprocessing(geometry, mean, deviation, "timm's settings")


def _setting(settings: Any, name: str) -> Any:
    return settings.get(name) if isinstance(settings, Mapping) else getattr(settings, name, None)


def _of_torchvision(opened: OpenedModel, geometry: Geometry) -> Preprocessing | None:
    weights = torchvision_weights(opened)
    if weights is None:
        return None
    preset = weights.transforms()
    source = f"torchvision's {weights}"
    mean, deviation = getattr(preset, "mean", None), getattr(preset, "std", None)
    if mean is None or deviation is None:  # detectors normalise themselves
        return Preprocessing(geometry, source=source)
    crop, resize = (_first(getattr(preset, name, None)) for name in ("crop_size", "resize_size"))
    if crop and opened.input_spec == default_input_spec(opened.origin):  # nobody has asked for another size
        geometry = replace(geometry, height=crop, width=crop)
    if crop and resize:
        geometry = replace(geometry, resize=round(resize * max(geometry.height, geometry.width) / crop))
    name = str(getattr(getattr(preset, "interpolation", None), "value", ""))
    geometry = replace(geometry, interpolation=name if name in INTERPOLATIONS else "bilinear")
    return Preprocessing(geometry, tuple(mean), tuple(deviation), source)


def torchvision_weights(opened: OpenedModel) -> Any:
    """The published weights that were opened, by the name of their file, or else the network's default ones."""
    from torchvision import models

    try:
        known = models.get_model_weights(opened.origin.name)
    except ValueError:
        return None
    own = [one for one in known if opened.weights and one.url.rpartition("/")[2] == opened.weights]
    return own[0] if own else getattr(known, "DEFAULT", None)


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, (list, tuple)) else value or 0)
