"""The forms in which a pruned checkpoint can be written. Both hold the same and load the same way."""

from pathlib import Path

FORMS = {
    ".pt": "weights, recipe and report; tui_prune.load builds it",
    ".safetensors": "weights, recipe and report; to others a plain state dict",
}
"""What each is, by the suffix of the file; the first is the usual one."""
_SUFFIXES = {*FORMS, ".pth", ".bin"}


def form_of(path: Path) -> str:
    """The form in which a file of this name is written."""
    return next((form for form in FORMS if form == path.suffix.casefold()), next(iter(FORMS)))


def in_form(text: str, form: str) -> str:
    """The name of a file in another form."""
    suffix = Path(text).suffix
    return (text[: -len(suffix)] if suffix.casefold() in _SUFFIXES else text) + form
