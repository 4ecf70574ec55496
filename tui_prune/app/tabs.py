"""The tabs of the main screen in their order: a pane each, and one entry in `TABS`. Importing this loads no pane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.widget import Widget

    from tui_prune.app.screens.main import MainScreen


@dataclass(frozen=True)
class Tab:
    """A tab, its pane, and what fills it."""

    name: str
    """What the line of tabs calls it."""
    about: str
    """What help says of it."""
    kind: str
    """The class of the pane, as "module:class"."""
    show: Callable[[MainScreen, bool], object]
    """Fills the pane, whenever the plan or the row of the tree is another one while it is open; true where it is to be
    shown from its start."""
    topic: str = ""
    """The chapter of the guide about it."""
    about_rows: bool = False
    """Whether it speaks of the row of the tree, whose name stands beside the tabs then."""
    alone: bool = False
    """Whether it takes the whole window while the keys are in it."""
    action: str = ""
    """What its number does; empty: it opens the tab."""
    opened: Callable[[MainScreen], object] = lambda main: None
    """What is done whenever it is opened."""

    def pane(self, id: str) -> Widget:
        """Make the pane."""
        module, _, name = self.kind.partition(":")
        made: Widget = getattr(import_module(module), name)(id=id)
        return made


def _channels(main: MainScreen, from_start: bool) -> None:
    from tui_prune.app.widgets.details_pane import DescriptionPane

    node = main.node
    if node is not None:
        pane = main.query_one("#channels", DescriptionPane)
        pane.tell(lambda width: main.describe(node, width), from_start=from_start)


def _pictures(main: MainScreen, from_start: bool) -> None:
    from tui_prune.app.widgets.details_pane import PicturesPane

    if main.node is not None:
        main.query_one("#pictures", PicturesPane).look_at(main.node.place, main.plan_number, main.session.look)


def _print(main: MainScreen, from_start: bool) -> None:
    from tui_prune.app.widgets.print_pane import PrintPane

    if main.node is not None:
        main.query_one("#print", PrintPane).compare(main.plan, main.plan_number, main.node.place)


WIDGETS = "tui_prune.app.widgets"
TABS = {
    "overview": Tab(
        "Overview",
        "What is left, and what next",
        f"{WIDGETS}.overview_pane:OverviewPane",
        lambda main, from_start: main.show_overview(),
    ),
    "pictures": Tab(
        "Pictures",
        "Weights, scores, costs",
        f"{WIDGETS}.details_pane:PicturesPane",
        _pictures,
        topic="pictures",
        about_rows=True,
    ),
    "channels": Tab(
        "Channels",
        "What is tied, and why",
        f"{WIDGETS}.details_pane:DescriptionPane",
        _channels,
        topic="opening",
        about_rows=True,
    ),
    "sensitivity": Tab(
        "Sensitivity",
        "What layers can bear",
        f"{WIDGETS}.details_pane:DescriptionPane",
        lambda main, from_start: main.show_sensitivity(),
        topic="suggestions",
        opened=lambda main: main.work.read_errors(),
    ),
    "print": Tab(
        "Print",
        "Both networks as PyTorch prints them",
        f"{WIDGETS}.print_pane:PrintPane",
        _print,
        alone=True,
        action="open_print",
    ),
    "recovery": Tab(
        "Recovery",
        "What recovering brings",
        f"{WIDGETS}.recovery_pane:RecoveryPane",
        lambda main, from_start: main.show_recovery(),
        topic="recovery",
    ),
    "tradeoff": Tab(
        "Trade-off",
        "Accuracy over cost",
        f"{WIDGETS}.tradeoff_pane:TradeOffPane",
        lambda main, from_start: main.show_trade_off(),
        topic="suggestions",
    ),
    "structure": Tab(
        "Structure",
        "Layers before and after",
        f"{WIDGETS}.structure_table:StructureTable",
        lambda main, from_start: None,
    ),
}
