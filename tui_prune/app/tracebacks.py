"""Where the user's own code has failed: its traceback, with what is torch's or tui-prune's left out."""

import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tui_prune.app.cells import Cell, Line, wrap

_FRAME = re.compile(r'  File "(?P<file>.*)", line (?P<line>\d+)(?:, in (?P<function>.*))?')
_OWN = f"{Path(__file__).parents[1]}/"
_MODELS = f"{_OWN}models/"
_STANDARD = f"{sysconfig.get_paths()['stdlib']}/"


class Failure(NamedTuple):
    """What went wrong, in a sentence, and the traceback of the user's own exception if there is one."""

    sentence: str
    traceback: str | None = None

    @property
    def hint(self) -> str:
        """What to say after the sentence."""
        return "   ! shows where" if self.traceback else ""


class Frame(NamedTuple):
    """A line of code that an exception passed through, with its source as the traceback has it."""

    file: str
    line: str
    function: str
    source: tuple[str, ...]

    @property
    def foreign(self) -> bool:
        """Whether it belongs to torch, to tui-prune or to Python itself: nothing that a user could mend."""
        if self.file.startswith(_MODELS):
            return False
        return self.file.startswith(("<", _OWN, _torch())) or _is_pythons_own(self.file)


def of_error(error: BaseException) -> str | None:
    """The traceback of the exception behind an error, if code passed through that isn't ours alone."""
    cause = error.__cause__
    if cause is None:
        return None
    text = "".join(traceback.format_exception(cause))
    return text if any(isinstance(part, Frame) and not part.foreign for part in _parts(text)) else None


def shown(failure: Failure, width: int) -> list[Line]:
    """The sentence, and below it the frames of the user's code with their source; of others only how many."""
    lines: list[Line] = [(Cell(piece, "error"),) for piece in wrap(failure.sentence, width)]
    if failure.traceback is None:
        return lines
    lines.append(())
    hidden = 0
    for part in [*_parts(failure.traceback), None]:
        if isinstance(part, Frame) and part.foreign:
            hidden += 1
            continue
        if hidden:
            calls = "1 call" if hidden == 1 else f"{hidden} calls"
            lines.append((Cell(f"  … {calls} of torch and tui-prune", "dim"),))
            hidden = 0
        if isinstance(part, Frame):
            lines += _frame(part, width)
        elif part is not None:
            style = "dim" if part.startswith(("Traceback", "During", "The above")) else "strong"
            indent = len(part) - len(part.lstrip())
            lines += [(Cell(" " * indent + piece, style),) for piece in wrap(part, max(1, width - indent))] or [()]
    return lines


def _frame(frame: Frame, width: int) -> list[Line]:
    where = f", in {frame.function}" if frame.function else ""
    place: Line = (
        Cell(f"  {Path(frame.file).name}", "strong"),
        Cell(f" line {frame.line}{where}"),
        Cell(f"   {frame.file}", "dim"),
    )
    if sum(len(cell.text) for cell in place) > width:
        place = place[:2]
    return [place, *((Cell(line, "code"),) for line in frame.source)]


def _parts(text: str) -> Iterator[Frame | str]:
    """A traceback as Python writes it: its frames, and the lines between them."""
    lines = text.rstrip("\n").split("\n")
    place = 0
    while place < len(lines):
        found = _FRAME.fullmatch(lines[place])
        place += 1
        if found is None:
            yield lines[place - 1]
            continue
        start = place
        while place < len(lines) and lines[place].startswith("    "):
            place += 1
        yield Frame(found["file"], found["line"], found["function"] or "", tuple(lines[start:place]))


def _is_pythons_own(file: str) -> bool:
    """Packages that are installed lie within the folder of Python's own modules."""
    return file.startswith(_STANDARD) and "-packages/" not in file


def _torch() -> str:
    """The folder of torch; a name that no file has where it isn't there."""
    module = sys.modules.get("torch")
    return f"{Path(module.__file__ or '').parent}/" if module is not None else "<torch>"
