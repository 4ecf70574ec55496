"""Jumping: a letter stands at each place that one can go to, and typing it goes there."""

import functools
import string
from collections.abc import Callable

from tui_prune.app.cells import Cell, Line
from tui_prune.app.screens.main_parts import MainParts
from tui_prune.app.widgets.key_line import KeyLine

LETTERS = "asdfghjklqwertyuiopzxcvbnm" + string.ascii_uppercase
"""Of the rows; those under the fingers come first. The tabs have their own numbers."""
TREE = "0"


class JumpKeys(MainParts):
    """The part of the main screen that jumps."""

    def action_jump(self) -> None:
        """Show the letters, and go where the next key says; any other key leaves things as they are."""
        tree, tabs = self.layer_tree, self.tabs
        labels: dict[int, str] = {}
        if tree.region:
            top = tree.scroll_offset.y
            labels = dict(zip(range(top, min(top + tree.page, tree.row_count())), LETTERS, strict=False))
        places: dict[str, Callable[[], None]] = {TREE: lambda: self.go_to("tree")}
        places |= {str(number): functools.partial(self._jump_to_tab, tab) for number, tab in enumerate(tabs.names, 1)}
        places |= {letter: functools.partial(self._jump_to_row, index) for index, letter in labels.items()}
        stay = "details" if self.in_details else "tree"

        def go(key: str) -> None:
            tree.label({})
            tabs.number(False)
            places.get(key, lambda: self.go_to(stay))()

        tree.label(labels)
        tabs.number(True)
        self.query_one(KeyLine).ask(self._where_to(), go)

    def _jump_to_tab(self, tab: str) -> None:
        self.go_to("details")
        self.action_open_tab(tab)

    def _jump_to_row(self, index: int) -> None:
        self.go_to("tree")
        self.layer_tree.go_to_row(index)

    def _where_to(self) -> Line:
        """The last line: which keys there are, and the places that are out of sight."""
        cells = [Cell("to  ", "dim")]
        if self.layer_tree.region:
            cells += [Cell("letter", "key"), Cell(" layer   ", "dim")]
        else:
            cells += [Cell(TREE, "key"), Cell(" tree   ", "dim")]
        if self.tabs.region:
            cells += [Cell("number", "key"), Cell(" tab   ", "dim")]
        else:
            for number, name in enumerate(self.tabs.names.values(), 1):
                cells += [Cell(str(number), "key"), Cell(f" {name}  ", "dim")]
        return (*cells, Cell("esc", "key"), Cell(" stay", "dim"))
