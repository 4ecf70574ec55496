"""Rows of modules that can be folded: what the tree and the table of layers have in common."""

from tui_prune.app.outline import Row
from tui_prune.app.widgets.row_list import RowList


class FoldingList(RowList):
    """A subclass says in `_lay_out` what rows there are, given what is folded."""

    rows: tuple[Row, ...]
    _folded: frozenset[str]

    @property
    def folds(self) -> bool:
        """Whether modules can be folded and unfolded now."""
        return True

    def _lay_out(self, keep: str) -> None:
        """Show the rows there are now, with the cursor on this path, or on what it is folded into."""
        raise NotImplementedError

    def row_count(self) -> int:
        return len(self.rows)

    def action_fold(self) -> None:
        if not self.rows:
            return
        row = self.rows[self.cursor]
        if row.open and self.folds:
            self._set_folded(row.node.path, folded=True)
            return
        for index in range(self.cursor - 1, -1, -1):
            if self.rows[index].depth < row.depth:
                self._go(index)
                return

    def action_unfold(self) -> None:
        if not self.rows:
            return
        row = self.rows[self.cursor]
        if row.open:
            self._go(self.cursor + 1)
        elif row.node.children and self.folds:
            self._set_folded(row.node.path, folded=False)

    def action_toggle_fold(self) -> None:
        if not self.rows:
            return
        row = self.rows[self.cursor]
        if row.node.children and self.folds:
            self._set_folded(row.node.path, folded=row.open)

    def _set_folded(self, path: str, *, folded: bool) -> None:
        self._folded = self._folded | {path} if folded else self._folded - {path}
        self._lay_out(path)
