"""Where the user is on the main screen, as plain values, and going there again."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tui_prune.app.screens.main import MainScreen


def position(screen: "MainScreen") -> dict[str, Any]:
    """The module under the cursor, the open tab, what is folded, which half the keys go to."""
    tree = screen.layer_tree
    return {
        "cursor": tree.node.path if tree.node else "",
        "folded": sorted(tree.folded),
        "everything": screen.everything,
        "tab": screen.tabs.active,
        "details": screen.in_details,
    }


def go_to(screen: "MainScreen", place: Mapping[str, Any]) -> None:
    """Go to a `position`, as far as there is what it names."""
    if bool(place.get("everything")) != screen.everything:
        screen.action_everything()
    cursor, folded, tab = place.get("cursor"), place.get("folded"), place.get("tab")
    if isinstance(cursor, str) and isinstance(folded, list):
        screen.layer_tree.go_to(cursor, frozenset(path for path in folded if isinstance(path, str)))
    if tab != screen.tabs.active and tab in screen.tabs.NAMES:
        screen.action_open_tab(tab)
    if bool(place.get("details")) != screen.in_details:
        screen.action_other_half()
