"""Where the user is on the main screen, as plain values, and going there again."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tui_prune.app.screens.main import MainScreen


def position(screen: "MainScreen") -> dict[str, Any]:
    """Where the tree is, the open tab, which half the keys go to."""
    return {
        "tree": screen.layer_tree.position(),
        "everything": screen.everything,
        "tab": screen.tabs.active,
        "details": screen.in_details,
    }


def go_to(screen: "MainScreen", place: Mapping[str, Any]) -> None:
    """Go to a `position`, as far as there is what it names."""
    if bool(place.get("everything")) != screen.everything:
        screen.action_everything()
    tree, tab = place.get("tree"), place.get("tab")
    if isinstance(tree, Mapping):
        screen.layer_tree.restore({name: value for name, value in tree.items() if _is_plain(value)})
    if tab != screen.tabs.active and tab in screen.tabs.names:
        screen.action_open_tab(tab)
    if bool(place.get("details")) != screen.in_details:
        screen.action_other_half()


def _is_plain(value: Any) -> bool:
    """A name, or names: as they were written."""
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(name, str) for name in value))
