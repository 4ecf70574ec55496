"""The names of torchvision's and timm's networks, to be chosen from while one types; torch isn't needed to know them.

They come from the packages themselves, once for each version; then from the user's cache folder.
"""

from importlib.util import find_spec
from pathlib import Path

from tui_prune.config import folders
from tui_prune.files import read_json, write_json


def known_names() -> tuple[str, ...] | None:
    """The names, as a user writes them ("resnet50", "timm:convnext_atto"); None where `find_names` has to be asked."""
    names = read_json(_file())
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def find_names() -> tuple[str, ...]:
    """The same from the packages, which takes seconds; kept for the next time."""
    from tui_prune.loading.sources.registry import SOURCES

    names = [source.prefix + name for source in SOURCES.values() if source.version for name in source.names()]
    write_json(_file(), names)
    return tuple(names)


def _file() -> Path:
    from importlib import metadata

    versions = [f"{name}-{metadata.version(name)}" for name in ("torchvision", "timm") if find_spec(name) is not None]
    name = "-".join(["names", *versions]).replace("+", "_")
    return folders()["cache"] / f"{name}.json"
