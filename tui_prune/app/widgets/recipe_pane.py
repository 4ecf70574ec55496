"""All fields of the recipe in rows: what they say, and what they mean."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType

from tui_prune.app.cells import Cell, Line, cell_len, left
from tui_prune.app.widgets.details_pane import HALF
from tui_prune.app.widgets.row_list import RowList
from tui_prune.planning.fields import FIELDS, Field

if TYPE_CHECKING:
    from tui_prune.planning.recipe import Recipe

VALUE = 12
CHANGED = "•"


class RecipePane(RowList):
    """One row a field; what differs from a new recipe is marked. A long value takes the room of what it means."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "screen.edit_field", "edits", id="recipe.edit", tooltip="Type or choose another value"),
        Binding(
            "left",
            "screen.cycle_field(-1)",
            "Value before",
            id="recipe.previous",
            tooltip="The choice before",
            show=False,
        ),
        Binding(
            "right", "screen.cycle_field(1)", "chooses", key_display="← →", id="recipe.next", tooltip="The next choice"
        ),
        Binding("x", "screen.reset_field", "default", id="recipe.reset", tooltip="As it is in a new recipe"),
        Binding("escape", "screen.back", "back", id="recipe.back", tooltip="Back to the tabs"),
        HALF,
    ]

    def __init__(self, fields: Sequence[Field] = FIELDS, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._fields = fields
        self._titles = max(len(field.title) for field in fields) + 1
        self._recipe: Recipe | None = None

    @property
    def field(self) -> Field:
        """The one under the cursor."""
        return self._fields[self.cursor]

    def tell(self, recipe: "Recipe") -> None:
        """Show what a recipe says."""
        first, self._recipe = self._recipe is None, recipe
        if first:
            self.rows_changed()
        else:
            self.repaint()

    def row_count(self) -> int:
        return 0 if self._recipe is None else len(self._fields)

    def header_cells(self, width: int) -> Line:
        return (Cell(left("   what", self._titles + 3) + left("value", VALUE) + " ", "header"),)

    def row_cells(self, index: int, width: int) -> Line:
        field, recipe = self._fields[index], self._recipe
        assert recipe is not None
        changed = field.is_changed(recipe)
        style, said, room = "changed" if changed else "plain", field.said(recipe), width - self._titles - 3
        columns = VALUE if cell_len(said) <= VALUE else max(VALUE, min(cell_len(said), room))
        meaning = field.meaning if columns == VALUE or columns + cell_len(field.meaning) <= room else ""
        return (
            Cell(f"{CHANGED if changed else ' '} ", style),
            Cell(left(field.title, self._titles)),
            Cell(left(said, columns) + " ", style),
            Cell(left(meaning, max(0, room - columns)), "dim"),
        )

    @on(RowList.Chosen)
    async def _chosen(self, event: RowList.Chosen) -> None:
        event.stop()
        await self.run_action("screen.edit_field")
