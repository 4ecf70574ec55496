"""What the parts of the main screen, each a file of keys, may ask of the whole."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.screen import Screen

from tui_prune.app.jobs import RunsJobs

if TYPE_CHECKING:
    from tui_prune.app.outline import Node
    from tui_prune.app.screens.long_work import LongWork
    from tui_prune.app.screens.questions import Questions
    from tui_prune.app.tracebacks import Failure
    from tui_prune.app.widgets.layer_tree import LayerTree
    from tui_prune.app.widgets.prompt_line import PromptLine
    from tui_prune.app.widgets.tab_line import TabLine
    from tui_prune.planning.plan import Plan
    from tui_prune.planning.recipe import Recipe
    from tui_prune.report.two_plans import Beside
    from tui_prune.session.selection import Selection
    from tui_prune.session.session import Session

LONGEST_NAME = 20
"""Columns of a plan's name in the status line."""


class MainParts(RunsJobs, Screen[None]):
    """The main screen as its parts and the dialogs over it know it; `MainScreen` puts it together."""

    session: "Session"
    plan: "Plan"
    """What is shown: that of the session, or while one looks around another."""
    node: "Node | None"
    """The layer or module that is shown at the right."""
    questions: "Questions"
    work: "LongWork"
    failure: "Failure | None"
    """What has failed last."""
    layer_tree: "LayerTree"
    tabs: "TabLine"
    prompt: "PromptLine"
    beside: "Beside | None"
    """The plan that the present one is compared with."""

    @property
    def target(self) -> "Selection":
        """What a key that changes layers speaks of: all that are marked, else the row under the cursor."""
        return self.layer_tree.target(self.node)

    @property
    def in_details(self) -> bool:
        """Whether the keys go to the right half."""
        return self.focused is not None and self.focused is not self.layer_tree

    def change(self, do: "Callable[[], Plan]") -> bool:
        """Change the session and show the plan that follows; a refusal is said, changes nothing, and gives False."""
        raise NotImplementedError

    def show_plan(self, plan: "Plan") -> None:
        """Show another plan; whatever is on the screen already is left alone."""
        raise NotImplementedError

    def settle(self) -> None:
        """Show the session's plan again, where something else was looked at."""
        raise NotImplementedError

    def sum_up(self) -> None:
        """Bring the title and the status line up to date."""
        raise NotImplementedError

    def remark(self, words: str, style: str = "plain", traceback: str | None = None) -> None:
        """Say something in the status line, until the plan changes; of an error, maybe with where it was."""
        raise NotImplementedError

    def reveal(self, path: str) -> None:
        """Put the tree's cursor where that of a pane is, or on the module around it that the tree shows."""
        raise NotImplementedError

    def show_prompt(self, asking: bool) -> None:
        """Put the prompt where the two last lines are, or these where it was."""
        raise NotImplementedError

    def go_to(self, half: str) -> None:
        """Send the keys to a half: "tree" or "details"."""
        raise NotImplementedError

    def show_tab(self, tab: str) -> None:
        """Show a tab, wherever the keys go."""
        raise NotImplementedError

    def compare_with(self, recipe: "Recipe | None") -> None:
        """Show the plan of a recipe beside the present one in the Structure tab; None: no longer.

        Raises `UsageError` where it can't be shown at once.
        """
        raise NotImplementedError

    def action_plans(self) -> None:
        """Show the plans that are kept, side by side."""
        raise NotImplementedError

    def action_open_tab(self, tab: str) -> None:
        """Show a tab, from its start where the keys go to the right half."""
        raise NotImplementedError
