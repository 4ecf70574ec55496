"""The left half: the tree of modules, one row for each, with what the plan makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import var

from tui_prune.app.cells import Line
from tui_prune.app.orders import ORDERS, TREE, ranked
from tui_prune.app.outline import Node, Row, hidden_layers, is_hit, rows, walk
from tui_prune.app.rails import rails
from tui_prune.app.selection import all_marked, at, markable
from tui_prune.app.tree_cells import ALL, SOME, RowLook, TreeCells
from tui_prune.app.tree_facts import Ties, TreeFacts
from tui_prune.app.widgets.folding_list import FoldingList

if TYPE_CHECKING:
    from tui_prune.planning.plan import Plan
    from tui_prune.session.selection import Selection

MOST_ROWS = 60
"""A network of more rows is shown with its repeated blocks folded at first."""


class LayerTree(FoldingList):
    """Modules that hold channels, with kind, width before and after, share kept, share of MACs, ratio and marks."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "screen.other_half", "details", id="tree.half", tooltip="To the details of the layer"),
        Binding("left,h", "fold", "Fold", id="tree.fold", tooltip="Fold, or go to the module above", show=False),
        Binding(
            "right,l", "unfold", "Unfold", id="tree.unfold", tooltip="Unfold, or go to the first inside", show=False
        ),
        Binding("space", "toggle_fold", "Fold or unfold", id="tree.toggle", tooltip="Fold or unfold", show=False),
        Binding("enter", "choose", "Details", id="tree.choose", tooltip="Go to the details of the layer", show=False),
    ]

    class HeadingClicked(Message):
        """The name of a column was clicked."""

        def __init__(self, column: str) -> None:
            super().__init__()
            self.column = column

    rows: var[tuple[Row, ...]] = var(())

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._root: Node | None = None
        self._by_path: dict[str, Node] = {}
        self._above: dict[str, tuple[str, ...]] = {}
        self._folded: frozenset[str] = frozenset()
        self._known: frozenset[str] = frozenset()
        """Repeated blocks that were shown before: whether they are folded is the user's choice."""
        self._marked: frozenset[str] = frozenset()
        self._needle = ""
        self._order = TREE
        self._lost: Mapping[str, float] = {}
        self._lit: frozenset[str] = frozenset()
        self._facts: TreeFacts | None = None
        self._ties: Ties | None = None
        self._cells: TreeCells | None = None
        self._lines: dict[int, tuple[tuple[RowLook, int], Line]] = {}
        self._rails = rails(())
        self._railed: list[bool] = []

    # What it shows

    @property
    def node(self) -> Node | None:
        """The node under the cursor."""
        return self.rows[self.cursor].node if self.rows else None

    @property
    def marked(self) -> frozenset[str]:
        """The layers that are marked."""
        return self._marked

    @property
    def order(self) -> str:
        """How the rows are ordered: a key of `ORDERS`."""
        return self._order

    def target(self, node: Node | None) -> "Selection":
        """What a key that changes layers speaks of: all that are marked, else this node."""
        if self._root is None or self._facts is None or not self._marked:
            return at(node)
        return all_marked(self._root, self._marked, self._facts.counts)

    def show(self, root: Node, plan: "Plan") -> None:
        """Show another tree of modules, and what the plan makes of it."""
        keep = self.node.path if self.node else ""
        self._root = root
        self._by_path, self._above = {}, {}
        for node, above in walk(root):
            self._by_path[node.path], self._above[node.path] = node, above
        repeated = self.repeated
        if len(self._by_path) - len(repeated) > MOST_ROWS:
            self._folded |= repeated - self._known
        self._known |= repeated
        self._marked = frozenset(self._marked & self._by_path.keys())
        self._ties = None
        self._take(plan)
        self._lay_out(keep)

    def show_plan(self, plan: "Plan") -> None:
        """Show what another plan makes of the same modules."""
        self._take(plan)
        if self._order == "cut":
            self._lay_out(self.node.path if self.node else "")
        else:
            self.repaint()

    def search(self, needle: str) -> int:
        """Show only what has `needle` in its name; how many layers that are."""
        if needle.strip() != self._needle:
            self._needle = needle.strip()
            self._lay_out(self.node.path if self.node else "")
        if self._needle and self.node and not is_hit(self.node, self._needle):
            first = next((i for i, row in enumerate(self.rows) if is_hit(row.node, self._needle)), 0)
            self.show_cursor(first)
            self.post_message(self.Moved(self))
        return sum(1 for row in self.rows if row.node.layer and is_hit(row.node, self._needle))

    def sort(self, order: str, lost: Mapping[str, float]) -> None:
        """Show the rows in another order; `lost` is what a scan says each layer costs."""
        self._order, self._lost = order, lost
        if self._facts is not None:
            self._take(self._facts.plan)
        self._lay_out(self.node.path if self.node else "")

    def reveal(self, path: str) -> bool:
        """Put the cursor on a module, unfolding what hides it, without saying that the user did.

        False where it isn't shown, as in a search that passes it over.
        """
        hidden = self._folded.intersection(self._above.get(path, ()))
        if hidden and self._order == TREE and not self._needle:
            self._folded -= hidden
            self._lay_out(path)
        place = next((index for index, row in enumerate(self.rows) if row.node.path == path), None)
        if place is not None:
            self.show_cursor(place)
        return place is not None

    @property
    def folded(self) -> frozenset[str]:
        """The modules that are folded."""
        return self._folded

    def step_layer(self, by: int) -> None:
        """Move to the next layer below (1) or above (-1) that isn't folded away."""
        places = [index for index, row in enumerate(self.rows) if row.node.layer and (index - self.cursor) * by > 0]
        if places:
            self._go(min(places) if by > 0 else max(places))

    def coupled(self, node: Node) -> tuple[str, ...]:
        """The layers that put out the same channels as this one, itself included."""
        return self._ties.others(node.path) if self._ties and node.layer else ()

    def next_tied(self) -> str | None:
        """The layer after the one under the cursor that puts out the same channels; None where there is none."""
        node = self.node
        others = self._ties.others(node.path) if self._ties and node and node.layer else ()
        if node is None or len(others) < 2:
            return None
        return others[(others.index(node.path) + 1) % len(others)] if node.path in others else others[0]

    # Marks

    def mark(self) -> None:
        """Mark the layers of the row under the cursor, or take their marks off, and go on to the next row."""
        node = self.node
        if node is None or self._facts is None:
            return
        inside = markable(node, self._facts.counts)
        self._set_marked(
            self._marked.difference(inside) if self._marked.issuperset(inside) else self._marked.union(inside)
        )
        below: Sequence[int] = range(self.cursor + 1, len(self.rows))
        if node.path and self._order == TREE:  # past what has just been marked with it
            below = [index for index in below if node.path not in self._above[self.rows[index].node.path]]
        if below:
            self._go(below[0])

    def mark_all(self) -> None:
        """Take all marks off; where there are none, mark all layers that are shown or folded away."""
        if self._marked or self._facts is None:
            self._set_marked(frozenset())
            return
        shown: set[str] = set()
        for row in self.rows:
            if row.node.layer and (not self._needle or is_hit(row.node, self._needle)):
                shown.add(row.node.path)
            elif row.node.children and not row.open:
                shown.update(row.node.layers)
        self._set_marked(frozenset(filter(self._facts.counts, shown)) or frozenset(shown))

    def _set_marked(self, marked: frozenset[str]) -> None:
        self._marked = marked
        self.repaint()

    # Folding

    @property
    def folds(self) -> bool:
        return not self._needle and self._order == TREE

    @property
    def repeated(self) -> frozenset[str]:
        """The rows that stand for repeated blocks."""
        return frozenset(path for path, node in self._by_path.items() if node.repeated)

    def fold_repeated(self) -> bool | None:
        """Fold all repeated blocks, or unfold them when all are folded; whether they are now, None without any."""
        repeated = self.repeated
        if not repeated:
            return None
        folded = not repeated <= self._folded
        self._folded = self._folded | repeated if folded else self._folded - repeated
        self._lay_out(self.node.path if self.node else "")
        return folded

    # Where the user is, to come back to

    def position(self) -> dict[str, Any]:
        """What is folded and marked, the order, and the row under the cursor: plain values, for `restore`."""
        return {
            "cursor": self.node.path if self.node else "",
            "folded": sorted(self._folded),
            "marked": sorted(self._marked),
            "order": self._order,
        }

    def restore(self, position: Mapping[str, Any]) -> None:
        """Go back to a position, as far as the network still has what it names."""
        layers = {path for path, node in self._by_path.items() if node.layer}
        self._folded = frozenset(position.get("folded", self._folded)).intersection(self._by_path)
        self._known |= self.repeated
        self._marked = frozenset(position.get("marked", ())).intersection(layers)
        order = position.get("order", TREE)
        self._order = order if order in ORDERS else TREE
        if self._facts is not None:
            self._take(self._facts.plan)
        self._lay_out(str(position.get("cursor", "")))
        self.post_message(self.Moved(self))

    # Laying out

    def _take(self, plan: "Plan") -> None:
        if self._root is None:
            return
        if self._ties is None or self._ties.graph is not plan.graph:
            self._ties = Ties(plan.graph, self._above)
        self._facts = TreeFacts(plan, self._lost)
        if self._cells is None or (self._cells.order, self._cells.root) != (self._order, self._root):
            self._cells = TreeCells(self._root, self._facts, self._ties, self._order)
            self._cells.rails = self._rails.width
        else:
            self._cells.facts, self._cells.ties = self._facts, self._ties
        self._lines.clear()

    def _lay_out(self, keep: str) -> None:
        """Show the rows there are now, with the cursor where it was, or on what it is folded into."""
        if self._root is None:
            return
        self.rows = rows(self._root, self._folded, self._needle) if self._order == TREE else self._ranked_rows()
        self._lines.clear()
        places = {row.node.path: index for index, row in enumerate(self.rows)}
        found = next((path for path in (keep, *reversed(self._above.get(keep, ()))) if path in places), None)
        self.cursor = places.get(found, 0) if found is not None else 0
        self._lay_rails()
        self._lit = self._lit_rows()
        self.rows_changed()

    def _lay_rails(self) -> None:
        """Join the rows of tied layers; where layers are ranked, rails would cross each other."""
        of_rows = [frozenset[int]()] * len(self.rows)
        if self._ties is not None and self._order == TREE:
            ties = self._ties
            of_rows = [ties.groups(hidden_layers(row)) for row in self.rows]
        self._rails = rails(of_rows)
        self._railed = [bool(groups) and groups <= self._rails.groups for groups in of_rows]
        if self._cells is not None:
            self._cells.rails = self._rails.width

    def _ranked_rows(self) -> tuple[Row, ...]:
        assert self._facts is not None
        nodes = {path: node for path, node in self._by_path.items() if node.layer}
        layers = [layer for layer in self._facts.layers.values() if layer.name in nodes]
        names = ranked(layers, self._order, self._lost)
        shown = (nodes[name] for name in names if not self._needle or is_hit(nodes[name], self._needle))
        return tuple(Row(replace(node, children=(), layers=(node.path,)), 0, False) for node in shown)

    # Rows

    def heading_clicked(self, x: int) -> None:
        if self._cells is not None:
            self.post_message(self.HeadingClicked(self._cells.column_at(x, self.room - 1)))

    def header_cells(self, width: int) -> Line:
        return self._cells.heading(width - 1) if self._cells else ()

    def row_cells(self, index: int, width: int) -> Line:
        if self._cells is None:
            return ()
        row = self.rows[index]
        rail = self._rails.before[index] if self._rails.before else ""
        key = RowLook(self._mark(row), self._is_lit(row), rail, self._railed[index]), width
        if index not in self._lines or self._lines[index][0] != key:
            self._lines[index] = key, self._cells.line(row, *key)
        return self._lines[index][1]

    def _mark(self, row: Row) -> str:
        if not self._marked or self._facts is None:
            return ""
        if row.node.layer and not (row.node.children and not row.open):
            return ALL if row.node.path in self._marked else ""
        inside = markable(row.node, self._facts.counts)
        return ALL if self._marked.issuperset(inside) else "" if self._marked.isdisjoint(inside) else SOME

    def _is_lit(self, row: Row) -> bool:
        """Whether a row is tied to the one under the cursor, or hides one that is."""
        if row.node.path not in self._lit or self._ties is None:
            return False
        return not row.open or (row.node.layer and row.node.path in self._ties.tied)

    def _lit_rows(self) -> frozenset[str]:
        node = self.node
        return self._ties.lit(node.path) if self._ties and node and node.layer else frozenset()

    def watch_cursor(self, old: int, new: int) -> None:
        before, self._lit = self._lit, self._lit_rows()
        super().watch_cursor(old, new)
        changed = before ^ self._lit if before is not self._lit else ()
        if changed and self.is_mounted:
            top = self.scroll_offset.y
            for index in range(top, min(top + self.page, len(self.rows))):
                if self.rows[index].node.path in changed:
                    self._repaint_row(index)
