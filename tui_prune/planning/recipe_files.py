"""Recipe files: by their path; the bundled ones, and those in the user's own folder, by name.

A bundled recipe is called by the network that it is for, a dash, and the strategy: "resnet18-inside".
"""

import difflib
import os
from contextlib import suppress
from pathlib import Path

import tui_prune.models as models
from tui_prune import paths
from tui_prune.config import folders
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.files import part_beside, tidy_parts
from tui_prune.formatting import shown

_SUFFIX = ".toml"


def recipe_names() -> tuple[str, ...]:
    """The names of the bundled recipes, sorted."""
    return tuple(sorted(file.stem for file in _folder().glob(f"*{_SUFFIX}")))


def recipe_file(spec: str | Path) -> Path:
    """The file of a recipe: a path, or the name of a bundled recipe or of one in the user's folder.

    Anything with a folder or the suffix ".toml" is a path. Raises `UsageError`, with near names, for a name that is
    neither a recipe nor a file.
    """
    path = Path(spec)
    if path.suffix == _SUFFIX or os.path.dirname(spec):
        return path
    names = recipe_names()
    if str(spec) in names:
        return _folder() / f"{spec}{_SUFFIX}"
    own = own_recipe_folder() / f"{spec}{_SUFFIX}"
    if paths.exists(path):
        return path
    if paths.is_file(own):
        return own
    raise _unknown(str(spec), names)


def own_recipe_folder() -> Path:
    """Where the user's own recipes are; it need not be there."""
    return folders()["recipes"]


def own_recipe_names() -> tuple[str, ...]:
    """The names of the recipes in the user's folder, sorted."""
    with suppress(OSError):
        return tuple(sorted(file.stem for file in own_recipe_folder().glob(f"*{_SUFFIX}") if file.is_file()))
    return ()


def write_own_recipe(name: str, text: str, *, replace: bool = False) -> Path:
    """Write a recipe into the user's folder, whole or not at all; the file that was written.

    Raises `UsageError` for a name that won't do, or (without `replace`) one that is there already, and `TuiPruneError`
    where the file can't be written.
    """
    name = name.strip().removesuffix(_SUFFIX)
    if not name or not name.isprintable() or name.startswith(".") or set(name) & set('/\\:*?"<>|'):
        raise UsageError("Type a name without slashes, such as half-inside.")
    if name in recipe_names():
        raise UsageError(f"{name} is a recipe that comes with tui-prune; choose another name.")
    file = own_recipe_folder() / f"{name}{_SUFFIX}"
    if paths.exists(file) and not replace:
        raise RecipeExists(f"There is a recipe called {name} already.")
    part = part_beside(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(file)
        tidy_parts(file.parent)
    except OSError as error:
        raise TuiPruneError(f"{file} can't be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return file


class RecipeExists(UsageError):
    """There is a recipe of that name already, and nobody has said that it may go."""


def recipe_remark(file: Path) -> str:
    """What the first lines of a recipe file say about it, in comments; empty where there are none."""
    lines = []
    with suppress(OSError, UnicodeDecodeError):
        for line in file.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#"):
                break
            lines.append(line.lstrip("#").strip())
    return " ".join(lines)


def _folder() -> Path:
    return Path(models.__path__[0]) / "recipes"


def _unknown(name: str, names: tuple[str, ...]) -> UsageError:
    near = [known for known in names if name and known.startswith(name)] or difflib.get_close_matches(name, names, 3)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(names)}."
    return UsageError(f"There is no bundled recipe and no file called {shown(name)}. {hint}")
