"""The user's own settings: one TOML file, and the folders in which everything else of theirs is kept."""

import contextlib
import difflib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tui_prune.formatting import shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAME = "tui-prune"
NOWHERE = Path(os.devnull) / NAME
"""A folder that can be neither there nor made."""
THEMES = MappingProxyType(
    {
        "dark": "quiet, on a dark ground",
        "light": "on a light ground",
        "contrast": "white on black",
        "plain": "the terminal's own sixteen colours",
    }
)
FIELDS = ("theme", "mouse", "keys")


@dataclass(frozen=True)
class Config:
    """What the file says, as far as it can be understood."""

    theme: str = "dark"
    """One of `THEMES`. Terminals of few colours have the plain one whatever this says."""
    mouse: bool = True
    """Whether the app listens to the mouse; without it the terminal's own selecting works as in a shell."""
    keys: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """For the id of a binding its keys, with commas between them."""
    problems: tuple[str, ...] = ()
    """What is wrong with the file, in sentences; the rest of it counts all the same."""


def config_file() -> Path:
    """Where the file is, or would be."""
    return folders()["config"] / "config.toml"


def folders() -> Mapping[str, Path]:
    """The folders of the user's account that hold something of tui-prune's.

    Where the user has no home, as an account without a name in a container, they can't be made, and nothing is kept.
    """
    import platformdirs

    config = _of_an_account(platformdirs.user_config_path)
    return {
        "config": config,
        "recipes": config / "recipes",
        "state": _of_an_account(platformdirs.user_state_path),
        "cache": _of_an_account(platformdirs.user_cache_path),
        "log": _of_an_account(platformdirs.user_log_path),
    }


def _of_an_account(path: Callable[..., Path]) -> Path:
    """One of the folders; without a home older platformdirs give "~/.config", which would be made in the present
    folder, and newer ones raise."""
    try:
        folder = path(NAME, appauthor=False)
    except RuntimeError:
        return NOWHERE
    return folder if folder.is_absolute() else NOWHERE


def at_home(path: Path) -> str:
    """A path as people write it: ~ for their own directory."""
    home = Path(os.path.expanduser("~"))
    return str(Path("~") / path.relative_to(home)) if path.is_relative_to(home) else str(path)


def load(path: Path | None = None) -> Config:
    """Read the file; without one everything is as it comes. It never raises: what is wrong is in `problems`."""
    path = config_file() if path is None else path
    if os.path.exists(path) and not os.path.isfile(path):
        return Config(problems=(f"{path} can't be read (it is no ordinary file), so none of it applies.",))
    try:
        text = path.read_bytes().decode()
    except (FileNotFoundError, NotADirectoryError):
        return Config()
    except OSError as error:
        return Config(problems=(f"{path} can't be read ({error.strerror or error}), so none of it applies.",))
    except UnicodeDecodeError:
        return Config(problems=(f"{path} isn't UTF-8 text, so none of it applies.",))
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of too many digits
        return Config(problems=(f"{path.name} isn't valid TOML, so none of it applies: {error or 'nested too deep'}.",))
    return parse(values)


def parse(values: Mapping[str, Any]) -> Config:
    """The settings that a table stands for."""
    problems = [
        f"{shown(name)} is no setting{near(name, FIELDS)}; there are {', '.join(FIELDS)}."
        for name in values
        if name not in FIELDS
    ]
    theme = values.get("theme", Config.theme)
    if not isinstance(theme, str) or theme not in THEMES:
        meant = near(theme, (*THEMES,)) if isinstance(theme, str) else ""
        problems.append(f"There is no theme {shown(theme)}{meant}; there are {', '.join(THEMES)}.")
        theme = Config.theme
    mouse = values.get("mouse", Config.mouse)
    if not isinstance(mouse, bool):
        problems.append(f"mouse is true or false, not {shown(mouse)}.")
        mouse = Config.mouse
    table = values.get("keys", {})
    keys: dict[str, str] = {}
    if not isinstance(table, dict):
        problems.append('keys is a table: write [keys], and below it "lock" = "ctrl+l".')
        table = {}
    try:
        flat = [*_flat(table)]
    except RecursionError:
        problems.append("The table of keys is nested too deep, so none of it applies.")
        flat = []
    for name, said in flat:
        parts = said if isinstance(said, list) else [said]
        if parts and all(isinstance(part, str) and part.strip() for part in parts):
            keys[name] = ",".join(parts)
        else:
            problems.append(f'The key of "{name}" must be text such as "ctrl+l", or "l,ctrl+l" for two.')
    return Config(theme, mouse, MappingProxyType(keys), tuple(problems))


def found(check: Callable[[Mapping[str, str]], tuple[Mapping[str, str], list[str]]]) -> dict[str, Any]:
    """Where everything is that is kept for the user, and what is in it: plain values, as `config --json` prints them.

    `check` tells which keys will do, and what is wrong with the others.
    """
    config, file = load(), config_file()
    keys, wrong = check(config.keys)
    settings = {"theme": config.theme, "mouse": config.mouse, "keys": dict(keys)}
    kept = {name: {"path": str(path), **_contents(path)} for name, path in folders().items() if name != "config"}
    own = {"path": str(file), "exists": os.path.isfile(file)}
    return {
        "config": {**own, **settings, "problems": [*config.problems, *wrong]},
        **kept,
    }


def _contents(folder: Path) -> dict[str, int]:
    """How many files there are in a folder, and how many bytes they have."""
    sizes = []
    for above, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(OSError):  # it may have gone meanwhile
                sizes.append(os.path.getsize(os.path.join(above, file)))
    return {"files": len(sizes), "bytes": sum(sizes)}


def near(word: str, known: Iterator[str] | tuple[str, ...]) -> str:
    """A guess at what was meant, for a sentence."""
    close = difflib.get_close_matches(word, [*known], 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Names with dots, which TOML reads as tables in tables where nobody quotes them."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
