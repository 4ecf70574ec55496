"""Writes the digits as pictures, a folder for each class in `train/` and `val/`: python -m tests.digit_pictures DIR."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tui_prune.models import digits

PARTS = {"train": "train", "val": "test"}


def write(folder: Path, most: int | None = None) -> None:
    """At most so many pictures in each part."""
    for part, split in PARTS.items():
        pixels, labels = digits.split(split)
        for number, (values, label) in enumerate(zip(pixels[:most], labels[:most].tolist(), strict=True)):
            place = folder / part / f"digit {label}"
            place.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray((255 * values[0].numpy()).round().astype(np.uint8))
            picture.save(place / f"{number:04}.png")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
