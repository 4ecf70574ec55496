"""Changes of single settings in the user's own file: everything else in it stays as it was written."""

import os
import re
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tui_prune.config import Config, config_file, parse
from tui_prune.errors import TuiPruneError
from tui_prune.files import part_beside

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KEYS = "keys"
"""The table with the keys."""
_TABLE = re.compile(r"\s*\[")
_VALUE = re.compile(r"(?P<name>[^=]*=\s*)(?:\"[^\"]*\"|'[^']*'|\[[^\]]*\]|\w+)(?P<rest>\s*(?:#.*)?\n?)")


def keep_setting(name: str, value: str | bool) -> Config:
    """Write the theme or the mouse into the user's file. Returns what the file says then.

    Raises `TuiPruneError` where the file can't be read or written, or where the setting has to be changed by hand.
    """
    return _keep(None, name, value)


def keep_key(name: str, keys: str | None) -> Config:
    """Write the keys of a binding into the user's file; None takes them out, so that the default holds.

    Raises `TuiPruneError` as `keep_setting` does.
    """
    return _keep(KEYS, name, keys)


def changed(text: str, table: str | None, name: str, value: str | bool | None) -> str:
    """Return the text of a TOML file with another value of an entry; of the top level where `table` is None. Its other
    lines, and the comment behind the entry, stay."""
    lines = text.splitlines(keepends=True)
    start, end = _section(lines, table)
    entry = re.compile(rf"\s*(?:\"{re.escape(name)}\"|'{re.escape(name)}'|{re.escape(name)})\s*=")
    at = next((place for place in range(start, end) if entry.match(lines[place])), None)
    written = "" if value is None else _literal(value)
    if at is not None:
        match = _VALUE.fullmatch(lines[at])
        lines[at] = f"{match['name']}{written}{match['rest']}" if match and value is not None else ""
        return "".join(lines)
    if value is None:
        return text
    while end > start and not lines[end - 1].strip():
        end -= 1
    if end and not lines[end - 1].endswith("\n"):
        lines[end - 1] += "\n"
    heading = [f"\n[{table}]\n" if lines else f"[{table}]\n"] if start > len(lines) else []
    return "".join([*lines[:end], *heading, f"{_quoted(name) if table else name} = {written}\n", *lines[end:]])


def _section(lines: list[str], table: str | None) -> tuple[int, int]:
    """The lines of a table, without its heading."""
    headings = [place for place, line in enumerate(lines) if _TABLE.match(line)]
    if table is None:
        return 0, headings[0] if headings else len(lines)
    for heading in headings:
        if re.match(rf"\s*\[\s*{re.escape(table)}\s*\]", lines[heading]):
            return heading + 1, next((other for other in headings if other > heading), len(lines))
    return sys.maxsize, len(lines)


def _literal(value: str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else _quoted(value)


def _quoted(text: str) -> str:
    return f"'{text}'" if '"' in text or "\\" in text else f'"{text}"'


def _keep(table: str | None, name: str, value: str | bool | None) -> Config:
    file = Path(os.path.realpath(config_file()))  # a link stays one
    text, before = _read(file)
    if table is None:
        setting: dict[str, Any] = {name: value}
        wanted = replace(before, **setting)
    else:
        keys = {key: said for key, said in before.keys.items() if key != name}
        wanted = replace(before, keys=MappingProxyType({**keys, name: value} if isinstance(value, str) else keys))
    new = changed(text, table, name, value)
    try:
        after = parse(tomllib.loads(new))
    except (ValueError, RecursionError):
        after = None
    if after is None or (after.theme, after.mouse, after.keys) != (wanted.theme, wanted.mouse, wanted.keys):
        raise TuiPruneError(f"{file} is written in a way that has to be changed by hand; it stays as it is.")
    part = part_beside(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(new, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise TuiPruneError(f"{file} can't be written: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            part.unlink()
    return after


def _read(file: Path) -> tuple[str, Config]:
    try:
        text = file.read_bytes().decode()
        return text, parse(tomllib.loads(text))
    except (FileNotFoundError, NotADirectoryError):
        return "", Config()
    except (OSError, ValueError, RecursionError) as error:
        raise TuiPruneError(f"{file} can't be read, so nothing is kept: {error}.") from error
