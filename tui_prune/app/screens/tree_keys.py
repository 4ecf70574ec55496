"""What the keys of the main screen do in the tree: marks, copies, orders, folds, jumps."""

from typing import TYPE_CHECKING

from tui_prune.app.orders import COLUMNS, ORDERS, SENSITIVITY, TREE, following, losses
from tui_prune.app.screens.main_parts import MainParts
from tui_prune.app.selection import at
from tui_prune.errors import UsageError
from tui_prune.session import changes

if TYPE_CHECKING:
    from tui_prune.app.widgets.layer_tree import LayerTree
    from tui_prune.planning.plan import Plan
    from tui_prune.session.selection import Selection


class TreeKeys(MainParts):
    """The part of the main screen that works with several rows of the tree."""

    copied: changes.Setting | None = None

    def action_mark(self) -> None:
        self.layer_tree.mark()
        self.sum_up()

    def action_mark_all(self) -> None:
        self.layer_tree.mark_all()
        self.sum_up()

    def action_copy(self) -> None:
        node = self.node
        if node is None or not node.path:
            self.remark("! Move to the layer whose setting you want to copy.", "error")
            return
        try:
            self.copied = changes.setting_of(self.session.plan, at(node))
        except UsageError as error:
            self.remark(f"! {error}", "error")
            return
        self.remark(f"copied {self.copied.words}; p pastes it")

    def action_paste(self) -> None:
        setting, target = self.copied, self.target
        if setting is None:
            self.remark("! Nothing is copied yet: y copies the setting of a layer.", "error")
        elif not target:
            self.remark("! Move to the layer, or mark those, that the setting is for.", "error")
        elif self.change(lambda: self._pasted(target, setting)):
            self.remark(f"pasted {setting.words} onto {target.name}")

    def _pasted(self, target: "Selection", setting: changes.Setting) -> "Plan":
        return self.session.apply(changes.with_setting(self.session.plan, target, setting))

    def action_next_tied(self) -> None:
        name = self.layer_tree.next_tied()
        if name is None:
            node = self.node
            layer = node is not None and node.layer
            self.remark("no other layer is tied to this one" if layer else "! Move to a layer.", "dim")
            return
        if not self.layer_tree.reveal(name):  # the search hides it
            self.questions.search("")
            self.layer_tree.reveal(name)
        self.layer_tree.post_message(self.layer_tree.Moved(self.layer_tree))

    def action_order(self) -> None:
        self._sort(following(self.layer_tree.order, scanned=self.work.sensitivity is not None))

    def on_layer_tree_heading_clicked(self, event: "LayerTree.HeadingClicked") -> None:
        """Order by the column; as in the model where that is so already."""
        order = COLUMNS.get(event.column)
        if order is None or (order == SENSITIVITY and self.work.sensitivity is None):
            return
        self._sort(TREE if order == self.layer_tree.order else order)

    def _sort(self, order: str) -> None:
        self.layer_tree.sort(order, losses(self.work.sensitivity))
        self.layer_tree.post_message(self.layer_tree.Moved(self.layer_tree))
        self.remark("" if order == TREE else f"layers {ORDERS[order].words}; i goes on", "dim")

    def action_fold_repeated(self) -> None:
        folded = self.layer_tree.fold_repeated()
        self.layer_tree.post_message(self.layer_tree.Moved(self.layer_tree))
        if folded is None:
            self.remark("this network has no repeated blocks", "dim")
        else:
            self.remark("repeated blocks are folded" if folded else "repeated blocks are unfolded", "dim")
