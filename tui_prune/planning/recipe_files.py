"""Recipe files: a user's by their path, the bundled ones by name.

A bundled recipe is called by the network that it is for, a dash, and the strategy: "resnet18-inside".
"""

import difflib
import os
from pathlib import Path

from tui_prune import models
from tui_prune.errors import UsageError

_SUFFIX = ".toml"


def recipe_names() -> tuple[str, ...]:
    """The names of the bundled recipes, sorted."""
    return tuple(sorted(file.stem for file in _folder().glob(f"*{_SUFFIX}")))


def recipe_file(spec: str | Path) -> Path:
    """The file of a recipe: a path, or the name of a bundled recipe.

    Anything with a folder or the suffix ".toml" is a path. Raises `UsageError`, with near names, for a name that is
    neither a bundled recipe nor a file.
    """
    path = Path(spec)
    if path.suffix == _SUFFIX or os.path.dirname(spec):
        return path
    names = recipe_names()
    if str(spec) in names:
        return _folder() / f"{spec}{_SUFFIX}"
    if path.exists():
        return path
    raise _unknown(str(spec), names)


def _folder() -> Path:
    return Path(models.__path__[0]) / "recipes"


def _unknown(name: str, names: tuple[str, ...]) -> UsageError:
    near = [known for known in names if name and known.startswith(name)] or difflib.get_close_matches(name, names, 3)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(names)}."
    return UsageError(f"There is no bundled recipe and no file called {name!r}. {hint}")
