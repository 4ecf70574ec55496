"""The recipes that one can start from."""

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from tui_prune.app.cells import Cell, Line, left, wrap
from tui_prune.app.columns import Column
from tui_prune.app.screens.list_dialog import ListDialog, shares
from tui_prune.app.widgets.choice_list import Cells
from tui_prune.planning.recipe_files import RecipeExists, write_own_recipe
from tui_prune.session.presets import OWN, presets, tried
from tui_prune.session.words import in_words

if TYPE_CHECKING:
    from tui_prune.app.screens.main_parts import MainParts
    from tui_prune.session.presets import Preset

COLUMNS = (
    Column("preset", 32, rank=0, least=18),
    Column("for", 16, rank=3, least=8),
    Column("params", 11, rank=2),
    Column("MACs", 11, rank=1),
)


class PresetsDialog(ListDialog):
    """Presets for this network, for any, and the user's own; up and down show what each would do, enter takes it."""

    guide_topic = "recipe"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "takes it", id="presets.take", tooltip="Take this recipe; u takes it back"),
        Binding("w", "write", "writes yours", id="presets.write", tooltip="Write your present recipe into this list"),
        Binding("escape", "close", "stays", id="dialog.close", tooltip="Back; all stays as it is"),
    ]
    TITLE_WORDS = "Start from a recipe"

    def __init__(self, main: "MainParts") -> None:
        super().__init__(main)
        self._presets: list[Preset] = []
        self._untried = 0
        self._overwriting = self._written = ""

    def fill(self) -> None:
        self._presets, self._untried = presets(self.session), 0
        self.rows.show(COLUMNS, [self._row(number) for number in range(len(self._presets))])
        self.laid_out()
        self.call_after_refresh(self._try_next)

    def _try_next(self) -> None:
        """See whether a preset fits: one at a time, and keys in between."""
        if self._untried >= len(self._presets) or not self.is_mounted:
            return
        number, self._untried = self._untried, self._untried + 1
        self._presets[number] = tried(self.session, self._presets[number])
        self.rows.repaint()
        if number == self.rows.cursor:
            self.look()
            self.say()
        self.call_later(self._try_next)

    def _row(self, number: int) -> Cells:
        def cell(column: str, width: int) -> Cell:
            preset = self._presets[number]
            cant = bool(preset.obstacle)
            if column == "preset":
                return Cell(left(preset.name, width), "dim" if cant else "plain")
            if column == "for":
                return Cell(left(preset.kind, width), "dim")
            if cant or preset.recipe is None or number >= self._untried:
                return Cell(left("-" if cant else "", width), "dim")
            return Cell(left(shares(self.session.cost(preset.recipe), self.main.plan.before)[column], width), "dim")

        return cell

    @property
    def preset(self) -> "Preset":
        """The one under the cursor."""
        return self._presets[self.rows.cursor]

    def about(self) -> tuple[Line, Line]:
        preset = self.preset
        if preset.obstacle:
            return (Cell(preset.words),), (Cell(f"! {preset.obstacle}", "error"),)
        waits_for = self.session.waits_for(preset.recipe) if preset.recipe is not None else ""
        second = (
            f"enter starts: {waits_for}" if waits_for else in_words(preset.recipe, self.room) if preset.recipe else ""
        )
        words = wrap(preset.words, max(20, self.query_one("#said").size.width - 2))
        if len(words) > 1 and not waits_for:
            return (Cell(words[0]),), (Cell(" ".join(words[1:])),)
        return (Cell(preset.words),), (Cell(second, "dim"),)

    def look(self) -> None:
        preset = self.preset
        self.preview(None if preset.obstacle else preset.recipe)

    def action_take(self) -> None:
        self.choose()

    def choose(self) -> None:
        number = self.rows.cursor
        if number >= self._untried:
            self._presets[number] = tried(self.session, self._presets[number])
        if self.preset.obstacle or self.preset.recipe is None:
            self.fail(self.preset.obstacle)
        else:
            self.take(self.preset.recipe)

    # The user's own

    def action_write(self) -> None:
        self._overwriting = ""
        self.main.settle()
        self.ask(f"Write your present recipe ({in_words(self.session.recipe)}) as:", self._free_name(), self._write)

    def _free_name(self) -> str:
        taken, name = {preset.name for preset in self._presets if preset.kind == OWN}, "my recipe"
        number = 2
        while name in taken:
            name, number = f"my recipe {number}", number + 1
        return name

    def _write(self, name: str) -> str:
        try:
            file = write_own_recipe(name, self.session.recipe.to_toml(), replace=name == self._overwriting)
        except RecipeExists as error:
            self._overwriting = name
            return f"{error} Enter again replaces it."
        self.main.remark(f"written: {file}", "dim")
        self._written = file.stem
        return ""

    def _end_asking(self) -> None:
        super()._end_asking()
        written, self._written = self._written, ""
        names = [preset.name if preset.kind == OWN else "" for preset in self._presets]
        if written in names:
            self.rows.show_cursor(names.index(written))
            self.laid_out()
