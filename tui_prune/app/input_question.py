"""The question for the shape of an example input."""

from collections.abc import Callable

from tui_prune.app.cells import Cell
from tui_prune.app.columns import Part
from tui_prune.app.widgets.prompt_line import Question
from tui_prune.errors import UsageError


def input_question(value: str, accept: Callable[[str], object]) -> Question:
    """Ask for the shape of an example input."""

    def preview(text: str) -> list[Part]:
        from tui_prune.loading.input_spec import parse_input_spec

        try:
            return [Part(0, ((Cell("; ".join(map(str, parse_input_spec(text)))),),))]
        except UsageError as error:  # the rest of the explanation has no room here
            raise UsageError(str(error).partition(". ")[0] + ".") from None

    def take(text: str) -> None:
        if not text.strip():
            raise UsageError("Type the shape of an input, such as 1,3,224,224.")
        preview(text)
        accept(text.strip())

    hint = "1,3,224,224; of two inputs 1,3,32,32;1,10; whole numbers 1,16:int"
    return Question("example input:", hint, value, preview, take)
