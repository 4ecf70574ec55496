"""The main screen: the tree at the left, what there is to know of a layer at the right, the sums around them."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.events import ScreenResume
from textual.reactive import Reactive
from textual.widget import Widget
from textual.widgets import ContentSwitcher

from tui_prune.app import headlines
from tui_prune.app.bindings import MAIN
from tui_prune.app.cells import Cell, Line, text_of
from tui_prune.app.describe import describe_layer, describe_module
from tui_prune.app.heat_table import sensitivity_lines, worker_lines
from tui_prune.app.jobs import UNSAID, Job, JobEnded, JobProgressed, in_a_thread
from tui_prune.app.outline import Node, outline
from tui_prune.app.screens.compare_keys import CompareKeys
from tui_prune.app.screens.dialog import MARKS
from tui_prune.app.screens.guided_keys import GuidedKeys
from tui_prune.app.screens.jump_keys import JumpKeys
from tui_prune.app.screens.live_worth import LiveWorth
from tui_prune.app.screens.long_work import LongWork
from tui_prune.app.screens.overviews import overview_of
from tui_prune.app.screens.plan_keys import PlanKeys
from tui_prune.app.screens.plans_keys import PlansKeys
from tui_prune.app.screens.questions import Questions
from tui_prune.app.screens.start_keys import StartKeys
from tui_prune.app.screens.tree_keys import TreeKeys
from tui_prune.app.screens.tuning_keys import TuningKeys
from tui_prune.app.tabs import TABS
from tui_prune.app.tracebacks import Failure
from tui_prune.app.tradeoff import TradeOff
from tui_prune.app.widgets.details_pane import DescriptionPane, PicturesPane
from tui_prune.app.widgets.key_line import KeyLine
from tui_prune.app.widgets.layer_tree import LayerTree
from tui_prune.app.widgets.line_pane import LinePane
from tui_prune.app.widgets.one_line import OneLine
from tui_prune.app.widgets.overview_pane import OverviewPane
from tui_prune.app.widgets.prompt_line import PromptLine
from tui_prune.app.widgets.recipe_pane import RecipePane
from tui_prune.app.widgets.row_list import RowList
from tui_prune.app.widgets.structure_table import StructureTable
from tui_prune.app.widgets.tab_line import TabLine
from tui_prune.app.widgets.tradeoff_pane import TradeOffPane
from tui_prune.errors import UsageError
from tui_prune.report.kinds import KINDS
from tui_prune.session.words import given_way

if TYPE_CHECKING:
    from tui_prune.planning.plan import Plan
    from tui_prune.planning.recipe import Recipe
    from tui_prune.session.session import Session

WIDE = 100
"""Columns from which both halves have room beside each other; in fewer they take turns."""
BROAD = 140
"""Columns from which the tree gets its half of them."""
LEAST = (80, 24)
"""The smallest window in which everything can be reached."""
ACTIONS = {binding.action.partition("(")[0] for binding in MAIN}


class MainScreen(PlanKeys, TreeKeys, PlansKeys, GuidedKeys, TuningKeys, CompareKeys, StartKeys, JumpKeys):
    """Shows a session and passes what the user does on to it."""

    BINDINGS: ClassVar[list[BindingType]] = [*MAIN]
    MARKS = MARKS
    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [  # type: ignore[misc]
        (0, "-narrow"),
        (WIDE, "-wide"),
        (BROAD, "-broad"),
    ]

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)
    """As in every screen, but without painting all of it whenever the keys go elsewhere."""

    def __init__(self, session: "Session", changed: Callable[[], None] = lambda: None) -> None:
        """`changed` is called whenever there may have been another choice."""
        super().__init__()
        self.session = session
        self._changed = changed
        self.plan = session.plan
        self.node = None
        self.questions = Questions(self)
        self.work = LongWork(self)
        self.live = LiveWorth(self)
        self._remark: Line = ()
        self.failure = None
        self._everything = False
        self.plan_number = 0

    def compose(self) -> ComposeResult:
        self.set_class(self.app.size.width < WIDE, "-narrow")  # now, or the first frame is laid out twice
        yield OneLine(id="title")
        yield OneLine(id="way")
        with Horizontal(id="halves"):
            yield LayerTree(id="tree")
            with Vertical(id="details"):
                yield TabLine(id="tabs")
                with ContentSwitcher(initial=next(iter(TABS)), id="panes"):
                    for key, tab in TABS.items():
                        yield tab.pane(id=key)
                    yield RecipePane(id="recipe")
        # In a box of their own: Textual repaints whatever stands before something that comes or goes.
        with Vertical(id="foot"):
            with Vertical(id="talk"):
                yield OneLine(id="status")
                yield KeyLine(id="keys")
            yield PromptLine(id="prompt")

    def on_mount(self) -> None:
        self.layer_tree = self.query_one("#tree", LayerTree)
        self.table = self.query_one("#structure", StructureTable)
        self.trade_off = self.query_one("#tradeoff", TradeOffPane)
        self.overview = self.query_one("#overview", OverviewPane)
        self.tabs = self.query_one("#tabs", TabLine)
        self.prompt = self.query_one("#prompt", PromptLine)
        self.layer_tree.followed_by = self._tree_moved
        self.tabs.active = next(iter(TABS))
        notes = self.session.opened.notes
        app: Any = self.app  # screens don't import the app
        wrong = app.wrong_settings()
        self._remark = (Cell(wrong, "error"),) if wrong else (Cell(notes[0], "dim"),) if notes else ()
        self._fill()
        self.sum_up()
        self.set_focus(self.layer_tree)
        if self.session.task is not None and self.session.task.evaluate is not None:
            self.action_evaluate()

    # Showing

    def show_plan(self, plan: "Plan") -> None:
        """Show another plan; whatever is on the screen already is left alone."""
        self.plan = plan
        self.plan_number += 1
        with self.app.batch_update():
            self.layer_tree.show_plan(plan)
            self.keep_comparing()
            self.table.show_plan(plan)
            self._show_details()
            self._show_sums()
        self.live.touched()
        self._changed()

    def settle(self) -> None:
        """Show the session's plan again, where something else was looked at."""
        if self.plan is not self.session.plan:
            self.show_plan(self.session.plan)

    def settle_unless_looking(self) -> None:
        """As `settle`, but let a question or a dialog show what its answer would give; once it is gone, so is that."""
        if self.is_current and self.prompt.question is None:
            self.settle()

    @on(ScreenResume)
    def _alone_again(self) -> None:
        if hasattr(self, "prompt"):
            self.settle_unless_looking()
            self._changed()

    def remark(self, words: str, style: str = "plain", traceback: str | None = None) -> None:
        """Say something in the status line, until the plan changes; of an error, maybe with where it was."""
        self._remark = (Cell(words, style),) if words else ()
        if style == "error" or traceback is not None:
            self.failure = Failure(words.removeprefix("! "), traceback)
            self._remark += (Cell(self.failure.hint, "dim"),) if traceback is not None else ()
        self.sum_up()

    @property
    def said(self) -> Line:
        """What the status line was last told to say, until the plan changed."""
        return self._remark

    def change(self, do: "Callable[[], Plan]") -> bool:
        """Change the session and show the plan that follows; a refusal is said, changes nothing, and gives False."""
        before = self.session.recipe
        try:
            plan = do()
        except UsageError as error:
            self.remark(f"! {error}", "error")
            return False
        self.show_choice(before, plan)
        return True

    def show_choice(self, before: "Recipe", plan: "Plan") -> None:
        """Show the plan of another recipe than before, and say which target that has ended."""
        gone = given_way(before, plan.recipe)
        self._remark = (Cell(f"{gone} no longer holds; u brings it back", "strong"),) if gone else ()
        self.show_plan(plan)

    def _fill(self) -> None:
        """Fill the tree and the table with the layers to show."""
        session, plan = self.session, self.plan
        modules = [(name, type(module).__name__) for name, module in session.opened.module.named_modules()]
        root = outline(session.opened.title, modules, plan.layers, everything=self._everything)
        self.layer_tree.show(root, plan)
        self.table.show(root, plan, self.layer_tree.folded)
        self._select(self.layer_tree.node)

    def _select(self, node: Node | None) -> None:
        """Show another layer or module at the right."""
        self.node = node
        if node is None:
            return
        self.tabs.tell(node.path or node.label)
        self.table.follow(node.path)
        self._show_details(from_start=True)
        self.live.touched()

    def show_sensitivity(self, *, from_start: bool = False) -> None:
        """Show the scan of the network as far as it got."""
        found, has_task, runs = self.work.sensitivity, self.session.task is not None, self.work.scanning
        pane = self.query_one("#sensitivity", DescriptionPane)
        errors, workers = self.work.errors, self.work.workers

        def lines(width: int) -> tuple[Line, ...]:
            return (*worker_lines(workers), *sensitivity_lines(found, has_task, width, runs=runs, errors=errors))

        pane.tell(lines, from_start=from_start)

    def _show_details(self, *, from_start: bool = False) -> None:
        self.show_recipe()
        tab = TABS.get(self.tabs.active)
        if tab is not None:
            tab.show(self, from_start)

    def show_overview(self) -> None:
        """Show what is left, what it is worth, and what to do next, of the plan that is on the screen."""
        if self.tabs.active == "overview" and self.node is not None:
            self.overview.tell(overview_of(self, self.node))

    def show_trade_off(self) -> None:
        """Show what was measured, and where the present plan lies among it."""
        if self.tabs.active == "tradeoff":
            doing = text_of(headlines.doing(self.work.doing)) if self.work.doing is not None else ""
            self.trade_off.tell(TradeOff(self.session.trade_off(), self.plan, doing=doing))

    def describe(self, node: Node, width: int) -> tuple[Line, ...]:
        """What there is to say of the channels of a row of the tree."""
        if node.layer:
            return describe_layer(self.plan, node.path, width)
        return describe_module(self.plan, node, self.session.opened.notes, width)

    def sum_up(self) -> None:
        """Bring up to date what tells of the whole network: title and status line, compared plans, two of the tabs."""
        self._show_sums()
        self.show_overview()
        self.show_trade_off()

    def _show_sums(self) -> None:
        if self.beside is not None:
            self.table.repaint()
        opened, plan, dirty = self.session.opened, self.plan, self.session.dirty
        recipe = plan.recipe
        score, side = self.work.score(recipe), self.work.side(recipe)
        if self.work.doing is None:
            only = self.questions.filter_words
            known = (Cell(only, "strong"),) if only else self.compared(side) or side or self._notes()
            side = self._too_small() or self._remark or known
        elif self._remark:
            side = (*self._remark, Cell("   "), *side)
        self.query_one("#title", OneLine).show(
            lambda width: headlines.title(opened.title, opened.weights, plan, score, dirty, width)
        )
        self.show_way()
        marked = len(self.layer_tree.marked)
        hint = "" if self._remark or self._too_small() else self.work.hint(score)
        self.query_one("#status", OneLine).show(
            lambda width: headlines.status(recipe, side, width, plan.ratio, marked, hint)
        )

    def on_resize(self) -> None:
        if hasattr(self, "layer_tree"):
            self.sum_up()

    def _too_small(self) -> Line:
        (columns, rows), (needed_columns, needed_rows) = self.app.size, LEAST
        if columns >= needed_columns and rows >= needed_rows:
            return ()
        return (Cell(f"! {columns}x{rows}: it needs {needed_columns}x{needed_rows}", "strong"),)

    def _notes(self) -> Line:
        notes = self.plan.notes[1:] if self.plan.reached else self.plan.notes  # the status line itself says the first
        if not notes:
            return ()
        return (Cell(notes[0] if len(notes) == 1 else f"{len(notes)} notes: see Channels of the top row", "dim"),)

    # What the parts tell

    @on(RowList.Moved, "#tree")
    def _tree_moved(self) -> None:
        if self.node is not self.layer_tree.node:
            self._select(self.layer_tree.node)

    @on(RowList.Moved, "#structure")
    def _table_moved(self) -> None:
        self.reveal(self.table.path or "")

    def reveal(self, path: str) -> None:
        """Put the tree's cursor where that of a pane is, or on the module around it that the tree shows."""
        self.layer_tree.reveal(path)
        while path and self.layer_tree.node and self.layer_tree.node.path != path:
            path = path.rpartition(".")[0]
            self.layer_tree.reveal(path)
        self.node = self.layer_tree.node
        self.tabs.tell(path or (self.node.label if self.node else ""))

    @on(RowList.Chosen, "#tree")
    def _tree_chosen(self) -> None:
        self.go_to("details")

    @on(RowList.Chosen, "#structure")
    def _table_chosen(self) -> None:
        self.go_to("tree")

    @on(LinePane.Beyond)
    def _pane_ended(self, event: LinePane.Beyond) -> None:
        self.layer_tree.step_layer(event.by)

    @on(PicturesPane.ThresholdMoved)
    def _threshold_moved(self, event: PicturesPane.ThresholdMoved) -> None:
        self.change(lambda: self.session.step_threshold(event.by, event.path))

    @on(TradeOffPane.Taken)
    def _dot_taken(self, event: TradeOffPane.Taken) -> None:
        if not isinstance(event, TradeOffPane.Compared):
            self.change(lambda: self.session.apply(event.trial.recipe))

    @on(TradeOffPane.Compared)
    def _dot_compared(self, event: TradeOffPane.Compared) -> None:
        try:
            self.compare_with(event.trial.recipe)
        except UsageError as error:
            self.remark(f"! {error}", "error")
            return
        self.action_open_tab("structure")

    @on(TabLine.Clicked)
    def _tab_clicked(self, event: TabLine.Clicked) -> None:
        self.action_open_tab(event.tab)

    # Halves and tabs

    def go_to(self, half: str) -> None:
        """Send the keys to a half: "tree" or "details"."""
        tab = TABS.get(self.tabs.active)
        self.set_class(half == "details", "-details")
        self.query_one("#halves").set_class(half == "details" and tab is not None and tab.alone, "-alone")
        target = self.query_one(f"#{self.tabs.active}") if half == "details" else self.layer_tree
        if target is self.table and self.node is not None and self.table.path != self.node.path:
            self.reveal(self.table.path or "")  # the keys act on the row under the bar, and the top row has none there
        self.set_focus(target)

    def action_other_half(self) -> None:
        self.go_to("tree" if self.in_details else "details")

    def action_back(self) -> None:
        comparing = self.beside is not None and self.work.doing is None and not self.questions.needle
        if comparing and self.tabs.active != "recipe":
            self.compare_with(None)
            self.remark("")
        elif self.in_details and not (self.tabs.active == "recovery" and self.work.recovering):
            self.close_recipe()
            self.go_to("tree")
        elif self.work.job is not None:
            self.work.stop()
        elif self.questions.needle:
            self.questions.search("")
        else:
            self.leave_way()
            self.remark("")

    def action_tab(self, by: int) -> None:
        self.close_recipe()
        tabs = [*TABS]
        self.action_open_tab(tabs[(tabs.index(self.tabs.active) + by) % len(tabs)])

    def action_open_tab(self, tab: str) -> None:
        self.show_tab(tab)
        if self.in_details or not self.query_one("#details").display:
            self.go_to("details")
            self._show_details(from_start=True)

    def show_tab(self, tab: str) -> None:
        """Show a tab, wherever the keys go."""
        self.tabs.active = tab
        self.query_one("#panes", ContentSwitcher).current = tab
        if tab in TABS:
            TABS[tab].opened(self)
        self._show_details(from_start=True)

    @property
    def guide_topic(self) -> str:
        """The chapter of the guide about the tab that is shown."""
        tab = TABS.get(self.tabs.active)
        return "recipe" if tab is None else tab.topic

    @property
    def everything(self) -> bool:
        """Whether norms and the like are shown too."""
        return self._everything

    def action_everything(self) -> None:
        self._everything = not self._everything
        self._fill()

    def offers(self) -> Iterator[tuple[str, str, Callable[[], None]]]:
        """What the palette can do here beside the keys: show each drawing, go to each layer or kept plan."""
        for name, kind in KINDS.items():
            yield f"Picture: {kind.name}", f"Draw {kind.words}", partial(self.show_picture, name)
        for plan in self.session.shelf.plans:
            yield f"Plan: {plan.name}", "Make this the present plan", partial(self._take_plan, plan.recipe)
        for layer in self.plan.layers:
            if layer.producer:
                yield f"Layer: {layer.name}", f"Go to this {layer.kind}", partial(self._go_to_layer, layer.name)

    def show_picture(self, kind: str) -> None:
        """Show a kind of drawing of the present row."""
        self.query_one("#pictures", PicturesPane).show_kind(kind)
        self.action_open_tab("pictures")

    def _take_plan(self, recipe: "Recipe") -> None:
        self.change(lambda: self.session.apply(recipe))

    def _go_to_layer(self, path: str) -> None:
        self.questions.search("")
        self.layer_tree.reveal(path)
        self._select(self.layer_tree.node)

    def action_find(self) -> None:
        self.questions.find()

    # The prompt

    @on(PromptLine.Closed)
    def _prompt_closed(self) -> None:
        if self.prompt.question is not None:  # the next one is asked already
            return
        self.settle()
        self.show_prompt(False)
        self.go_to("details" if self.has_class("-details") else "tree")

    def show_prompt(self, asking: bool) -> None:
        """Put the prompt where the two last lines are, or these where it was; a class would restyle everything."""
        self.query_one("#talk").display = not asking
        self.prompt.display = asking

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if not self.is_mounted or not hasattr(self, "prompt"):
            return True
        return self.prompt.question is None or action not in ACTIONS

    # Long work

    @work(exclusive=True, group="live", exit_on_error=False, description=UNSAID)
    async def run_live(self, job: Job) -> None:
        """Measure beside all other work; `JobEnded` tells of it."""
        await in_a_thread(job, self.post_message)

    def action_live(self) -> None:
        self.remark(self.live.toggle())

    @on(JobProgressed)
    def _job_progressed(self, event: JobProgressed) -> None:
        self.work.progressed(event)

    @on(JobEnded)
    def _job_ended(self, event: JobEnded) -> None:
        if self.live.ended(event):
            return
        self.work.ended(event)
        self.step_ended(event)
        self.settle_unless_looking()
        self._changed()
