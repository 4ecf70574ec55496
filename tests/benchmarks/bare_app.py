"""The app to compare with: Textual's own tree and table, filled with the same rows, and nothing else.

python -m tests.benchmarks.bare_app FILE.json
"""

import json
import sys
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import DataTable, Static, TabbedContent, TabPane, Tree
from textual.widgets.tree import TreeNode


class BareApp(App[None]):
    """A tree beside a table in a tab; + shows the next plan, 1 and 3 change the tab."""

    CSS = """
    Tree { width: 45%; max-width: 66; }
    Horizontal.-narrow { Tree { display: none; } &.-tree { Tree { display: block; width: 1fr; max-width: 100%; } } }
    Horizontal.-narrow.-tree TabbedContent { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus", "more", "more"),
        Binding("1", "open('structure')", "structure"),
        Binding("3", "open('words')", "words"),
    ]

    def __init__(self, plans: list[dict[str, Any]]) -> None:
        super().__init__()
        self.plans, self.place = plans, 0
        self.animation_level = "none"
        self.nodes: list[TreeNode[None]] = []

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Tree("network")
            with TabbedContent(initial="structure"):
                with TabPane("Structure", id="structure"):
                    yield DataTable(cursor_type="row")
                with TabPane("Channels", id="words"):
                    yield Static("\n".join(row[0] for row in self.plans[0]["table"][:12]))

    def on_mount(self) -> None:
        self.query_one(Horizontal).set_class(self.size.width < 100, "-narrow")
        self.query_one(Horizontal).add_class("-tree")
        plan = self.plans[0]
        tree = self.query_one(Tree)
        above = [tree.root]
        tree.root.set_label(plan["tree"][0][1])
        tree.root.expand()
        self.nodes.append(tree.root)
        for depth, text in plan["tree"][1:]:
            del above[depth:]
            above.append(above[-1].add(text, expand=True))
            self.nodes.append(above[-1])
        table = self.query_one(DataTable)
        table.add_columns("layer", "width", "params", "MACs", "cut")
        table.add_rows(plan["table"])
        tree.focus()

    def action_more(self) -> None:
        self.place = min(self.place + 1, len(self.plans) - 1)
        plan = self.plans[self.place]
        for node, (_, text) in zip(self.nodes, plan["tree"], strict=True):
            node.set_label(text)
        table = self.query_one(DataTable)
        for place, row in enumerate(plan["table"]):
            for column, text in enumerate(row):
                table.update_cell_at((place, column), text)

    def action_open(self, tab: str) -> None:
        self.query_one(Horizontal).remove_class("-tree")
        self.query_one(TabbedContent).active = tab


if __name__ == "__main__":
    BareApp(json.loads(Path(sys.argv[1]).read_text())).run()
