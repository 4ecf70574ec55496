"""What the app sends over the line, beside a bare Textual app with the same tree and table.

    python -m tests.benchmarks.terminal [MODEL ...] [--size 80x24] [--json FILE]

Both run in pseudo-terminals of the same size at the same time and get the same keys in turns. Bytes are means over all
keys of a kind, times medians from the key to the last byte, or to the first frame, of several starts in turns.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.line import Line, mean
from tests.benchmarks.targets import Found, Target, as_rows, at_most

ROOT = Path(__file__).parents[2]
MANY = f"{Path(__file__).parent / 'many_modules.py'}:make_network"
MODELS = {"nin": ("nin", ""), "resnet50": ("resnet50", "1,3,64,64"), "2,000 modules": (MANY, "1,3,8,8")}
SIZES = ("80x24", "160x50")
DOWN, UP, HOME = "\x1b[B", "\x1b[A", "\x1b[H"
UNFOLD = "f"
"""Shows the rows of repeated blocks, which the app sums up in one and the bare app doesn't."""

MORE_BYTES = 1.3
"""A key may cost so many times the bytes of the bare app's."""
SLOWER = 1.5
"""It may take so many times the bare app's time, from key to last byte and to the first frame."""
REST = 10.0
"""Seconds for which nothing may be sent."""
STEPS = 4
NONE = "start"
"""In place of a model: the app without one."""


@dataclass(frozen=True)
class Figure:
    """One measure of both apps: bytes and milliseconds, or either of them."""

    model: str
    size: str
    what: str
    our_bytes: int | None = None
    bare_bytes: int | None = None
    our_ms: float | None = None
    bare_ms: float | None = None

    @property
    def bytes_ratio(self) -> float | None:
        return self.our_bytes / self.bare_bytes if self.our_bytes is not None and self.bare_bytes else None

    @property
    def time_ratio(self) -> float | None:
        return self.our_ms / self.bare_ms if self.our_ms is not None and self.bare_ms else None

    @property
    def met(self) -> bool:
        """Whether it keeps to the limits."""
        if self.what == "rest":
            return self.our_bytes == 0
        more, slower = self.bytes_ratio, self.time_ratio
        return (more is None or round(more, 2) <= MORE_BYTES) and (slower is None or round(slower, 2) <= SLOWER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}; all of them without")
    parser.add_argument("--size", action="append", choices=SIZES)
    parser.add_argument("--starts", type=int, default=7, help="starts for the time of the first frame")
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args()
    unknown = [model for model in asked.models if model not in MODELS]
    if unknown:
        parser.error(f"{unknown[0]!r} isn't one of {', '.join(MODELS)}")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in asked.size or SIZES:
            figures += first_frames(size, asked.starts, Path(folder))
            for model in asked.models or MODELS:
                print(model, size, file=sys.stderr, flush=True)
                figures += keys(model, size, Path(folder))
    Console(width=None if sys.stdout.isatty() else 140).print(table(figures))
    if asked.json:
        written = {"figures": [asdict(figure) for figure in figures], "targets": as_rows(targets(figures))}
        asked.json.write_text(json.dumps(written, indent=1) + "\n")
    sys.exit(0 if all(figure.met for figure in figures) else 1)


class Pair:
    """Ours and the bare app, which get the same keys in turns."""

    def __init__(self, model: str, size: str, folder: Path) -> None:
        self.model, self.size = model, size
        self.ours = start_ours(model, size, folder)
        self.bare = start_bare(model, size, folder)

    def settle(self) -> None:
        """Wait until both are at rest. Where the app begins by evaluating or scanning, that is part of the wait."""
        self.bare.settle(1.0)
        self.ours.settle(3.0, "MACs")

    def press(self, what: str, keys: Sequence[str]) -> Figure:
        """The mean of some keys."""
        pairs = [(self.ours.press(key), self.bare.press(key)) for key in keys]
        ours, bare = mean([pair[0] for pair in pairs]), mean([pair[1] for pair in pairs])
        return Figure(
            self.model,
            self.size,
            what,
            ours.bytes,
            bare.bytes,
            round(1e3 * ours.seconds, 1),
            round(1e3 * bare.seconds, 1),
        )

    def end(self) -> None:
        self.ours.end()
        self.bare.end()


def keys(model: str, size: str, folder: Path) -> list[Figure]:
    """Bytes and time of each kind of key, and bytes at rest."""
    pair = Pair(model, size, folder)
    try:
        pair.settle()
        pair.ours.press(UNFOLD)
        in_sight = int(size.partition("x")[2]) - 6
        rows = len(json.loads(rows_of(model, folder).read_text())[0]["tree"])
        span = min(in_sight, rows) - 2
        found = [pair.press("cursor", [*[DOWN] * span, *[UP] * (span - 1), *[DOWN] * (span - 1)])]
        if rows > 2 * in_sight:
            pair.press("", [DOWN] * 4)
            found.append(pair.press("cursor, scrolling", [DOWN] * min(2 * in_sight, rows - in_sight - 4)))
        pair.press("", [HOME])
        found.append(pair.press("ratio step", ["+"] * STEPS))
        pair.press("", ["3"])
        found.append(pair.press("tab", ["1", "3"] * STEPS))
        pair.settle()
        found.append(Figure(model, size, "rest", pair.ours.rest(REST), pair.bare.rest(REST)))
        return found
    finally:
        pair.end()


def first_frames(size: str, starts: int, folder: Path) -> list[Figure]:
    """Time from the start to the first frame, with and without a model."""
    ours: dict[str, list[float]] = {NONE: [], "nin": []}
    bare: list[float] = []
    for _ in range(starts):
        for model, seconds in ours.items():
            seconds.append(frame_of(start_ours(model, size, folder)))
        bare.append(frame_of(start_bare("nin", size, folder)))
    median = round(1e3 * statistics.median(bare))
    return [
        Figure(model, size, "first frame", None, None, round(1e3 * statistics.median(seconds)), median)
        for model, seconds in ours.items()
    ]


def frame_of(line: Line) -> float:
    try:
        return line.first_frame()
    finally:
        line.end()


def start_ours(model: str, size: str, folder: Path) -> Line:
    """The app, away from the developer's own settings."""
    arguments = []
    if model != NONE:
        name, input_spec = MODELS[model]
        arguments = [name, *(["--input", input_spec] if input_spec else [])]
    return start("tui_prune", arguments, size, folder)


def start_bare(model: str, size: str, folder: Path) -> Line:
    """The bare app with the same rows."""
    return start("tests.benchmarks.bare_app", [str(rows_of(model, folder))], size, folder)


def start(module: str, arguments: list[str], size: str, folder: Path) -> Line:
    columns, rows = map(int, size.split("x"))
    homes = ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")
    env = {name: str(folder / name.lower()) for name in homes}
    env |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(ROOT)}
    return Line([sys.executable, "-m", module, *arguments], columns, rows, folder, env)


def rows_of(model: str, folder: Path) -> Path:
    """What the bare app shows of a network, made once."""
    file = folder / f"{model}.json"
    if not file.exists():
        command = [sys.executable, "-m", "tests.benchmarks.bare_rows", *MODELS[model], str(file)]
        subprocess.run(command, cwd=ROOT, check=True)
    return file


def targets(figures: Sequence[Figure]) -> list[Target]:
    """The worst of each limit."""

    def found(name: str, kept: Callable[[Figure], bool] = lambda figure: True) -> list[Found]:
        values = [(getattr(figure, name), f"{figure.model}, {figure.size}") for figure in figures if kept(figure)]
        return [(value, where) for value, where in values if value is not None]

    return [
        at_most("bytes of a key over the bare app's, worst", found("bytes_ratio"), MORE_BYTES),
        at_most("time of a key or first frame over the bare app's, worst", found("time_ratio"), SLOWER),
        at_most("bytes at rest", found("our_bytes", lambda figure: figure.what == "rest"), 0.0),
    ]


def table(figures: Sequence[Figure]) -> Table:
    """All figures, with their limits."""
    made = Table("network", "size", "what", box=None)
    for title in ("bytes", "bare", "ratio", "ms", "bare", "ratio", ""):
        made.add_column(title, justify="right")
    for figure in figures:
        made.add_row(
            figure.model,
            figure.size,
            figure.what,
            *map(_said, (figure.our_bytes, figure.bare_bytes, figure.bytes_ratio)),
            *map(_said, (figure.our_ms, figure.bare_ms, figure.time_ratio)),
            "ok" if figure.met else "MISSED",
        )
    made.caption = f"at most {MORE_BYTES} times the bytes, {SLOWER} times the time, none in {REST:g} s at rest"
    return made


def _said(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) and value < 100 else f"{value:.0f}"


if __name__ == "__main__":
    main()
