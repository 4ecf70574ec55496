"""Which names are those of pruned checkpoints (`archives.forms`), and which those of exports."""

from pathlib import Path

from tui_prune.archives.forms import FORMS
from tui_prune.errors import UsageError

EXPORTS = {
    ".onnx": "for ONNX Runtime, TensorRT, OpenVINO",
    ".pt2": "a program of torch.export",
    ".py": "a Python file that needs no tui-prune, with its weights beside it",
}
"""What exports are, by the suffix of the file; under such a name a pruned checkpoint would be taken for one."""


def is_export(path: Path) -> bool:
    """Whether a file of this name is an export."""
    return path.suffix.casefold() in EXPORTS


def check_form(path: Path) -> None:
    """Raise `UsageError` for the name of an export, which a pruned checkpoint isn't."""
    if is_export(path):
        raise UsageError(
            f"{path} is the name of an export. Save the pruned checkpoint as .pt first, and then export that: "
            f"tui-prune export {path.with_suffix('.pt')} -o {path}"
        )


def in_form(text: str, form: str) -> str:
    """The name of a file in another form."""
    suffix = Path(text).suffix
    return (text[: -len(suffix)] if suffix.casefold() in {*FORMS, *EXPORTS, ".pth", ".bin"} else text) + form
