"""The forms in which a pruned checkpoint can be written. Both hold the same and load the same way."""

from pathlib import Path

from tui_prune.errors import UsageError

FORMS = {
    ".pt": "weights, recipe and report; tui_prune.load builds it",
    ".safetensors": "weights, recipe and report; to others a plain state dict",
}
"""What each is, by the suffix of the file; the first is the usual one."""
EXPORTS = {
    ".onnx": "for ONNX Runtime, TensorRT, OpenVINO",
    ".pt2": "a program of torch.export",
    ".py": "a Python file that needs no tui-prune, with its weights beside it",
}
"""What exports are, by the suffix of the file; under such a name a pruned checkpoint would be taken for one."""
_SUFFIXES = {*FORMS, *EXPORTS, ".pth", ".bin"}


def form_of(path: Path) -> str:
    """The form in which a file of this name is written."""
    return next((form for form in FORMS if form == path.suffix.casefold()), next(iter(FORMS)))


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
    return (text[: -len(suffix)] if suffix.casefold() in _SUFFIXES else text) + form
