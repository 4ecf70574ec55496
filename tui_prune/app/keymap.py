"""Which keys there are, and which of them the user has changed: all of it is read from the bindings."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import Keys, key_to_character
from textual.screen import Screen

from tui_prune.app.bindings import GROUPS, HERE, LOOK, MOVE
from tui_prune.config import near

NAMES = {
    "escape": "esc",
    "pagedown": "page down",
    "pageup": "page up",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "plus": "+",
    "minus": "-",
    "underscore": "_",
    "equals_sign": "=",
    "slash": "/",
    "full_stop": ".",
}
SAME_AS = {"ctrl+m": "enter", "ctrl+i": "tab", "ctrl+h": "backspace", "ctrl+j": "enter"}
"""On plain terminals these can't be told apart."""
MODIFIERS = ("ctrl", "alt", "shift")
PLACES = ("tui_prune.app.screens", "tui_prune.app.widgets")


def key_name(key: str) -> str:
    """A key as it is written on the keyboard: ctrl+s, ?, page down."""
    *modifiers, last = key.split("+")
    character = key_to_character(last) or ""
    return "+".join([*modifiers, NAMES.get(last) or (character.strip() if character.isprintable() else "") or last])


@dataclass(frozen=True)
class Known:
    """A binding and whose it is."""

    owner: type[DOMNode]
    binding: Binding

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.binding.key.split(","))


@cache
def known() -> tuple[Known, ...]:
    """The bindings of the app, of its screens and of their widgets, those that can be remapped."""
    from tui_prune.app.app import PruneApp

    owners: dict[type[DOMNode], None] = {PruneApp: None}
    for place in PLACES:
        for found in pkgutil.iter_modules(importlib.import_module(place).__path__):
            module = importlib.import_module(f"{place}.{found.name}")
            for thing in vars(module).values():
                if isinstance(thing, type) and issubclass(thing, DOMNode) and thing.__module__ == module.__name__:
                    owners[thing] = None
    return tuple(
        Known(owner, binding)
        for owner in owners
        for binding in vars(owner).get("BINDINGS", ())
        if isinstance(binding, Binding) and binding.id
    )


@dataclass(frozen=True)
class Active:
    """What a user can do now: a binding of the widget or screen that has the keys, and all its keys."""

    node: DOMNode
    binding: Binding
    keys: tuple[str, ...]
    tooltip: str

    @property
    def title(self) -> str:
        """Its description, as the start of a line."""
        return f"{self.binding.description[:1].upper()}{self.binding.description[1:]}"

    @property
    def group(self) -> str:
        """Its group of the help."""
        found = next((group for group, ids in GROUPS.items() if self.binding.id in ids), None)
        if found is not None:
            return found
        if isinstance(self.node, (App, Screen)):
            return LOOK
        return MOVE if (self.binding.id or "").partition(".")[0] in ("rows", "lines") else HERE


def active(screen: Screen[Any]) -> list[Active]:
    """What can be done on a screen now: first by the widget that has the keys, each in the order of its bindings,
    also where their keys have been changed."""
    keys: dict[tuple[DOMNode, str], list[str]] = {}
    found: dict[tuple[DOMNode, str], tuple[Binding, str]] = {}
    for key, (node, binding, enabled, tooltip) in screen.active_bindings.items():
        if enabled and not binding.system:
            name = node, binding.id or binding.action
            keys.setdefault(name, []).append(key)
            found.setdefault(name, (binding, tooltip))
    nodes = {node: place for place, node in enumerate(dict.fromkeys(node for node, _ in found))}
    declared = {node: _declared(type(node)) for node in nodes}
    names = sorted(found, key=lambda name: (nodes[name[0]], declared[name[0]].get(name[1], 0)))
    return [Active(name[0], found[name][0], tuple(keys[name]), found[name][1]) for name in names]


@cache
def _declared(owner: type[DOMNode]) -> dict[str, int]:
    """The place of each binding among those of a class, those of the classes it is made from first."""
    bindings = (binding for base in reversed(owner.__mro__) for binding in vars(base).get("BINDINGS", ()))
    ids = dict.fromkeys(binding.id or binding.action for binding in bindings if isinstance(binding, Binding))
    return {name: place for place, name in enumerate(ids)}


RENAMED = {"tab.histogram": "tab.pictures"}
"""What ids are called now that files of earlier versions may have."""


def check(wanted: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Of the keys that the user wants for the ids of bindings those that will do, in Textual's words; and in
    sentences what is wrong with the others, which stay as they were."""
    ids = {one.binding.id or "": one for one in known()}
    keymap: dict[str, str] = {}
    problems: list[str] = []
    for name, said in wanted.items():
        name = RENAMED.get(name, name)
        if name not in ids:
            problems.append(
                f'No key is called "{name}"{near(name, tuple(ids))}; tui-prune config --example lists them.'
            )
            continue
        keys, wrong = [], ""
        for word in said.split(","):
            key, reason = _read(word)
            keys.append(key)
            wrong = wrong or reason
        if wrong:
            problems.append(f'"{name}" keeps its key: {wrong}.')
        else:
            keymap[name] = ",".join(keys)
    while clash := next(_clashes(keymap), None):
        name, key, other = clash
        del keymap[name]
        words = f"{other.binding.description[:1].lower()}{other.binding.description[1:]}"
        problems.append(f'"{name}" keeps its key: {key_name(key)} is that of "{other.binding.id}" ({words}).')
    return keymap, problems


def _read(word: str) -> tuple[str, str]:
    """A key in Textual's words, or what is wrong with it."""
    word = word if word == " " else word.strip()
    *modifiers, last = word.split("+") if len(word) > 1 else [word]
    if word.endswith("++"):
        modifiers, last = word[:-2].split("+"), "+"
    if len(last) == 1 and last.isprintable():
        last = textual_name(last)
    else:
        last = {name: key for key, name in NAMES.items()}.get(last.lower(), last.lower())
        if last not in NAMES and last not in {key.value for key in Keys} and key_to_character(last) is None:
            return "", f"{word!r} is no key"
    if any(modifier not in MODIFIERS for modifier in modifiers):
        return "", f"{word!r} is no key"
    if modifiers == ["shift"] and len(last) == 1:
        return last.upper(), ""
    key = "+".join([*modifiers, last])
    if key in SAME_AS:
        return "", f"terminals can't tell {key} from {SAME_AS[key]}"
    return key, ""


def textual_name(key: str) -> str:
    """A key in Textual's words: "?" is question_mark; those that have a name keep it."""
    if len(key) != 1:
        return key
    return {" ": "space", ",": "comma"}.get(key) or next(iter(Binding.make_bindings([(key, "", "")]))).key


def _clashes(keymap: Mapping[str, str]) -> Iterator[tuple[str, str, Known]]:
    """Remapped bindings that would take a key from another one that works in the same place."""
    for one in known():
        if one.binding.id is None or one.binding.id not in keymap:
            continue
        mine = keymap[one.binding.id].split(",")
        for other in known():
            if other.binding.id == one.binding.id or not _together(one.owner, other.owner):
                continue
            theirs = keymap.get(other.binding.id or "", other.binding.key).split(",")
            for key in mine:
                if key in theirs and not (key in one.keys and key in other.keys):
                    yield one.binding.id or "", key, other


def _together(one: type[DOMNode], other: type[DOMNode]) -> bool:
    """Whether the keys of two classes can work at the same time."""
    if issubclass(one, App) or issubclass(other, App):
        return True
    if issubclass(one, Screen) != issubclass(other, Screen):
        return True
    return issubclass(one, other) or issubclass(other, one)


def example() -> list[str]:
    """The lines of a config file that says what is so anyway, with every key that can be remapped."""
    from tui_prune.config import THEMES

    lines = ["# Settings of tui-prune. What stands behind # is as it comes: take the # away and change it.", ""]
    lines += [f'# theme = "{next(iter(THEMES))}"  # ' + "; ".join(f"{name}: {said}" for name, said in THEMES.items())]
    lines += ["# mouse = true  # false leaves the mouse to the terminal: to select text, for one", ""]
    lines += ["[keys]  # one, or several with commas between them: ctrl+l, f2, ?, page down", ""]
    shown: set[str] = set()
    for one in known():
        binding = one.binding
        if binding.id in shown:
            continue
        shown.add(binding.id or "")
        keys = ",".join(map(written, one.keys))
        lines.append(f'# "{binding.id}" = {_quoted(keys)}  # {binding.tooltip}')
    return lines


def written(key: str) -> str:
    """A key as it can be written in the file: commas and blanks by their names."""
    character = NAMES.get(key, "") if NAMES.get(key, "").isascii() else ""
    character = character if len(character) == 1 else key_to_character(key) or ""
    return character if character.isprintable() and character.strip(" ,") else key


def _quoted(text: str) -> str:
    """A TOML string."""
    return f"'{text}'" if '"' in text or "\\" in text else f'"{text}"'


def apply(app: App[object], wanted: Mapping[str, str]) -> list[str]:
    """Give the app the keys that its user wants; what is wrong with them, in sentences."""
    if not wanted:
        return []
    keymap, problems = check(wanted)
    app.set_keymap(keymap)
    return problems
