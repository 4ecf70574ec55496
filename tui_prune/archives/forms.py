"""The forms in which a pruned checkpoint can be written, each a module of this package and one line in `FORMS`.

All hold the same and load the same way. Nothing here needs torch.
"""

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple


class Form(NamedTuple):
    """What is known of a form before its module is read."""

    words: str
    """What a file of it is, in a few words."""
    module: str = ""
    """It has `is_one(path, start)`, which looks at the name of a file and its first bytes, `read(path)` and
    `pack(content)`, the bytes of a file; and `read_metadata(path)`, where that needs no tensor. Empty: torch writes and
    reads it."""

    @property
    def codec(self) -> Any:
        """The module; None where torch does it."""
        return import_module(self.module) if self.module else None


FORMS = {
    ".pt": Form("weights, recipe and report; tui_prune.load builds it"),
    ".safetensors": Form(
        "weights, recipe and report; to others a plain state dict", "tui_prune.archives.safetensors_form"
    ),
}
"""By the suffix of the file; the first is the usual one."""


def form_of(path: Path) -> str:
    """The form in which a file of this name is written."""
    return next((form for form in FORMS if form == path.suffix.casefold()), next(iter(FORMS)))


def codec_of(path: Path, start: bytes) -> Any:
    """The module that reads a file which begins with `start`; None where torch does."""
    codecs = (form.codec for form in FORMS.values())
    return next((codec for codec in codecs if codec is not None and codec.is_one(path, start)), None)
