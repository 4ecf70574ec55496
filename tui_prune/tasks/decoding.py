"""Making numbers of pictures, in this process or in some of its own: `python -m tui_prune.tasks.decoding`.

A process that decodes imports no torch, and one that a broken picture ends takes nothing else with it.
"""

import json
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

FEW = 256
"""So many pictures are decoded before another process would have started."""
INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "lanczos")


@dataclass(frozen=True)
class Geometry:
    """What is done to a picture until it has the size that the network takes."""

    height: int
    width: int
    resize: int
    """Pixels of the shorter side before the middle is cut out; 0: as many as are cut out."""
    fit: str = "crop"
    """"crop": the middle is taken; "stretch": all of it, in other proportions."""
    interpolation: str = "bilinear"
    channels: int = 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.channels, self.height, self.width


def decode(path: str, geometry: Geometry) -> np.ndarray:
    """A picture as bytes (channels, height, width): the operations of torchvision's classification presets on Pillow's
    pictures. Raises whatever Pillow raises where it can't be read."""
    from PIL import Image

    mode = "RGB" if geometry.channels == 3 else "L"
    with warnings.catch_warnings(), Image.open(path) as opened:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        picture = _eight_bits(opened).convert(mode)
    method = Image.Resampling[geometry.interpolation.upper()]
    if geometry.fit == "stretch":
        picture = picture.resize((geometry.width, geometry.height), method)
    else:
        short = geometry.resize or max(geometry.height, geometry.width)
        width, height = picture.size
        size = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
        picture = picture.resize(size, method)
        left, top = round((size[0] - geometry.width) / 2), round((size[1] - geometry.height) / 2)
        picture = picture.crop((left, top, left + geometry.width, top + geometry.height))
    return np.asarray(picture, np.uint8).reshape(geometry.height, geometry.width, -1).transpose(2, 0, 1)


def _eight_bits(picture: Any) -> Any:
    """Of sixteen bits, which Pillow would cut off at 255, the upper eight."""
    from PIL import Image

    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture)
    return Image.fromarray((values // 256 if values.max(initial=0) > 255 else values).astype(np.uint8))


def decode_into(
    pixels: np.ndarray, files: Sequence[str], places: Sequence[int], geometry: Geometry
) -> Iterator[tuple[int, str]]:
    """Fill rows of an array; after each, its place and why it couldn't be filled (empty: it was)."""
    for file, place in zip(files, places, strict=True):
        problem = ""
        try:
            pixels[place] = decode(file, geometry)
        except Exception as error:  # Pillow raises anything on what is no picture
            problem = " ".join(str(error).split()) or type(error).__name__
        yield place, problem


def decode_in_processes(
    target: Path, files: Sequence[str], geometry: Geometry, workers: int
) -> Iterator[tuple[int, str]]:
    """Fill a file of numpy's that is there already, in so many processes; as `decode_into`, in any order.

    What a process that dies leaves undone counts as unreadable. Processes end with the iterator.
    """
    left = set(range(len(files)))
    with ExitStack() as ends:
        running = []
        for number in range(workers):
            places = list(range(number, len(files), workers))
            process = subprocess.Popen(
                [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True, encoding="ascii",
            )  # fmt: skip
            ends.callback(_end, process)
            order = {"target": str(target), "files": [files[place] for place in places], "places": places,
                     "geometry": asdict(geometry)}  # fmt: skip
            running.append((process, json.dumps(order)))
        for process, text in running:
            _give(process.stdin, text)
        for process, _ in running:
            assert process.stdout is not None
            for line in process.stdout:
                place, problem = json.loads(line)
                left.discard(place)
                yield place, problem
    for place in sorted(left):
        yield place, "the process that read it has died"


def _give(stream: IO[str] | None, text: str) -> None:
    assert stream is not None
    try:
        stream.write(text)
        stream.close()
    except BrokenPipeError:  # it has died; what it was to do counts as undone
        pass


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except BrokenPipeError:
                continue


def main(order: Mapping[str, Any]) -> None:
    """What one process does."""
    pixels = np.load(order["target"], mmap_mode="r+")
    for row in decode_into(pixels, order["files"], order["places"], Geometry(**order["geometry"])):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(json.load(sys.stdin))
