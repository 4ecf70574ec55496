"""The tabs of the main screen in their order: a pane each, and one entry in `TABS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.widget import Widget

from tui_prune.app.widgets.details_pane import DescriptionPane, PicturesPane
from tui_prune.app.widgets.overview_pane import OverviewPane
from tui_prune.app.widgets.print_pane import PrintPane
from tui_prune.app.widgets.recovery_pane import RecoveryPane
from tui_prune.app.widgets.structure_table import StructureTable
from tui_prune.app.widgets.tradeoff_pane import TradeOffPane

if TYPE_CHECKING:
    from tui_prune.app.screens.main import MainScreen


@dataclass(frozen=True)
class Tab:
    """A tab, its pane, and what fills it."""

    name: str
    """What the line of tabs calls it."""
    about: str
    """What help says of it."""
    pane: Callable[..., Widget]
    """Makes the pane; it is given the id."""
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


def _channels(main: MainScreen, from_start: bool) -> None:
    node = main.node
    if node is not None:
        pane = main.query_one("#channels", DescriptionPane)
        pane.tell(lambda width: main.describe(node, width), from_start=from_start)


def _pictures(main: MainScreen, from_start: bool) -> None:
    if main.node is not None:
        main.query_one("#pictures", PicturesPane).look_at(main.node.place, main.plan_number, main.session.look)


def _print(main: MainScreen, from_start: bool) -> None:
    if main.node is not None:
        main.query_one("#print", PrintPane).compare(main.plan, main.plan_number, main.node.place)


TABS = {
    "overview": Tab(
        "Overview", "What is left, and what next", OverviewPane, lambda main, from_start: main.show_overview()
    ),
    "pictures": Tab("Pictures", "Weights, scores, costs", PicturesPane, _pictures, topic="pictures", about_rows=True),
    "channels": Tab("Channels", "What is tied, and why", DescriptionPane, _channels, topic="opening", about_rows=True),
    "sensitivity": Tab(
        "Sensitivity",
        "What layers can bear",
        DescriptionPane,
        lambda main, from_start: main.show_sensitivity(),
        topic="suggestions",
        opened=lambda main: main.work.read_errors(),
    ),
    "print": Tab("Print", "Both networks as PyTorch prints them", PrintPane, _print, alone=True, action="open_print"),
    "recovery": Tab(
        "Recovery",
        "What recovering brings",
        RecoveryPane,
        lambda main, from_start: main.show_recovery(),
        topic="recovery",
    ),
    "tradeoff": Tab(
        "Trade-off",
        "Accuracy over cost",
        TradeOffPane,
        lambda main, from_start: main.show_trade_off(),
        topic="suggestions",
    ),
    "structure": Tab("Structure", "Layers before and after", StructureTable, lambda main, from_start: None),
}
