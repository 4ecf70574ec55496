"""The questions that the main screen asks in its last lines, each with the effect of the answer as one types."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from tui_prune.app.cells import Cell
from tui_prune.app.columns import Part
from tui_prune.app.typed_paths import complete, is_file, typed_task
from tui_prune.app.widgets.prompt_line import FOREMOST, Question
from tui_prune.errors import UsageError
from tui_prune.formatting import count, share
from tui_prune.paths import exists
from tui_prune.planning import answers
from tui_prune.planning.criteria import CRITERIA as KNOWN
from tui_prune.planning.recipe import CRITERIA, Recipe
from tui_prune.session import changes
from tui_prune.session.selection import NETWORK, Selection
from tui_prune.tasks.registry import BUILT_IN, forms

if TYPE_CHECKING:
    from tui_prune.app.screens.main import MainScreen
    from tui_prune.planning.fields import Field
    from tui_prune.planning.plan import Plan

MOST_NAMES = 6
"""Names that a path could go on as, as many as are said."""
RECOVERIES = {
    "reconstruct": "layers refitted to what they gave before",
    "recalibrate": "batch-norm statistics anew",
    "finetune": "the task's loop or the built-in one, best kept",
    "both": "first reconstruct, then finetune",
}

MEANINGS = {name: criterion.says for name, criterion in KNOWN.items()}
"""What each criterion looks at."""
NOTHING: Mapping[str, str] = MappingProxyType({})


class Questions:
    """Asks on behalf of the main screen."""

    def __init__(self, screen: "MainScreen") -> None:
        self._screen = screen
        self.needle = ""

    def ratio(self, target: Selection) -> None:
        """Ask how much of a layer, of the layers in a module or of all marked, or of the network to cut."""
        session = self._screen.session
        self._ask_change(
            f"cut of {target.name or 'the network'}, in %:",
            "50, 50 % and 0.5 all mean a half",
            answers.said(changes.ratio_of(session.plan, target)),
            lambda text: changes.with_ratio(session.plan, target, answers.share(text)),
            target,
            slider=answers.share,
        )

    def alignment(self, target: Selection) -> None:
        """Ask of what number the widths should be multiples: of a layer, a module's, all marked, or all."""
        session = self._screen.session
        read = answers.whole if target else answers.alignment
        auto = "" if target else "; auto measures what suits this device"
        self._ask_change(
            f"width of {target.name}, a multiple of:" if target else "all widths a multiple of:",
            f"8 suits most hardware; 1 aligns nothing{auto}",
            str(changes.alignment_of(session.plan, target)),
            lambda text: changes.with_alignment(session.plan, target, read(text)),
            target,
            topic="targets",
        )

    def field(self, field: "Field", value: str | None = None) -> None:
        """Ask for any field of the recipe; start with a value, or with the present one."""
        session = self._screen.session
        hint = ", ".join(field.choices) or field.meaning
        self._ask_change(
            f"{field.title.removeprefix('or: ')}:",
            hint,
            field.value(session.recipe) if value is None else value,
            lambda text: field.changed(session.recipe, text),
            few=field.choices,
            meanings=MEANINGS if field.name == "criterion" else {},
            topic="criteria" if field.name == "criterion" else "recipe",
        )

    def task(self, then: Callable[[], None]) -> None:
        """Ask for a task, since there is none, and go on with what was to be done by it."""

        def preview(text: str) -> list[Part]:
            return [Part(0, ((Cell(_path_goes_on(text)),),)), Part(1, ((Cell("tab completes", "dim"),),))]

        question = Question(
            "task:",
            f"a file with evaluate(model), or {', '.join(forms())}; or --task FILE.py",
            "",
            preview,
            lambda text: self._screen.work.take_task(typed_task(text), then),
            complete=_completed,
            topic="tasks",
        )
        self.ask(question)

    def criterion(self) -> None:
        """Ask by what the importance of a channel is told."""
        session = self._screen.session
        self._ask_change(
            "criterion:",
            f"one of {', '.join(CRITERIA)}; up and down go through them",
            session.recipe.criterion,
            lambda text: session.recipe.changed(criterion=text.strip()),
            few=CRITERIA,
            meanings=MEANINGS,
            topic="criteria",
        )

    def target(self) -> None:
        """Ask how large the network may be; the plan is the largest one that keeps to it."""
        session = self._screen.session
        self._ask_change(
            "the largest network with at most:",
            f"{answers.TARGETS}; several hold together",
            answers.said_targets(session.recipe) or "50 % macs",
            lambda text: session.recipe.changed(**answers.targets(text)),
            topic="targets",
        )

    def suggestion(self) -> None:
        """Ask how large the network may be, and let a scan of its layers say how much each of them loses."""

        def preview(text: str) -> list[Part]:
            tried = answers.suggestion(text)["finalists"]
            words: tuple[str, ...]
            if tried > 1:
                words = (
                    f"it tries cuts by your task, then fine-tunes the {tried} best",
                    f"fine-tunes the {tried} best",
                )
            else:
                words = (
                    "it tries cuts by your task, which takes a while; with , 3 finalists it fine-tunes the best",
                    "it takes a while; , 3 finalists fine-tunes",
                    "it takes a while",
                )
            return [Part(0, tuple((Cell(one),) for one in words))]

        def accept(text: str) -> None:
            self._screen.work.suggest(**answers.suggestion(text))

        label = "suggest a recipe that leaves at most:"
        self.ask(Question(label, "50 % macs, 30 % params", "50 % macs", preview, accept, topic="suggestions"))

    def recovery(self) -> None:
        """Ask how to win accuracy back after the cut."""

        def preview(text: str) -> list[Part]:
            if text.strip() not in RECOVERIES:
                raise UsageError(f"Type one of {', '.join(RECOVERIES)}; up and down go through them.")
            if not self._screen.session.plan.cuts:
                raise UsageError("Nothing is cut yet: type a ratio first (g).")
            return []

        def accept(text: str) -> None:
            preview(text)
            how = text.strip()
            self._screen.work.recover(
                reconstruct=how in ("reconstruct", "both"),
                recalibrate=how == "recalibrate",
                finetune=how in ("finetune", "both"),
            )
            self._screen.show_tab("recovery")
            if self._screen.has_class("-narrow"):
                self._screen.add_class("-details")  # where the keys go once the question is gone

        question = Question(
            "recover:",
            ", ".join(RECOVERIES),
            "reconstruct",
            preview,
            accept,
            choices=(*RECOVERIES,),
            meanings=RECOVERIES,
            topic="recovery",
        )
        self.ask(question)

    def find(self) -> None:
        """Ask for letters that the names of the layers to show have in them."""
        before = self.needle
        self.ask(
            Question(
                "find:", "part of a layer's name", before, self._found, lambda text: None, lambda: self.search(before)
            )
        )

    def search(self, needle: str) -> int:
        """Show only layers with these letters; all of them for none."""
        self.needle = needle.strip()
        found = self._screen.layer_tree.search(self.needle)
        self._screen.remark("")
        return found

    @property
    def filter_words(self) -> str:
        """What the search leaves of the tree, and how it ends; nothing where there is none."""
        if not self.needle:
            return ""
        rows = len(self._screen.layer_tree.rows)
        return f"only {self.needle} · {rows} {'rows' if rows != 1 else 'row'} · esc shows all"

    def _found(self, text: str) -> list[Part]:
        found = self.search(text)
        words = Cell(f"{found} layers" if found != 1 else "1 layer", "plain" if found else "error")
        return [Part(0, ((words,),))]

    def _ask_change(
        self,
        label: str,
        hint: str,
        value: str,
        recipe: Callable[[str], Recipe],
        target: Selection = NETWORK,
        few: tuple[str, ...] = (),
        slider: Callable[[str], float] | None = None,
        meanings: Mapping[str, str] = NOTHING,
        topic: str = "recipe",
    ) -> None:
        """Ask for something that changes the recipe. The whole screen shows what would come of it."""
        screen = self._screen

        def preview(text: str) -> list[Part]:
            chosen = recipe(text)
            waits_for = screen.session.waits_for(chosen)
            if waits_for:
                screen.settle()
                return [Part(FOREMOST, ((Cell(f"enter starts: {waits_for}"),),))]
            plan = screen.session.preview(chosen)
            screen.show_plan(plan)
            return _effect(plan, target.layer)

        def accept(text: str) -> None:
            chosen = recipe(text)
            if screen.session.waits_for(chosen):
                screen.work.prepare(chosen)
                return
            before = screen.session.recipe
            screen.show_choice(before, screen.session.apply(chosen))

        question = Question(label, hint, value, preview, accept, screen.settle, few, meanings, slider, topic=topic)
        self.ask(question)

    def ask(self, question: Question) -> None:
        """Ask in the two last lines."""
        self._screen.show_prompt(True)
        self._screen.prompt.ask(question)


def _split_task(text: str) -> tuple[str, str]:
    """The kind of a built-in task with its colon, empty for a file; and the path as far as it is typed."""
    kind, colon, path = text.lstrip().partition(":")
    return (kind + colon, path) if colon and kind in BUILT_IN else ("", text)


def _completed(text: str) -> str:
    kind, path = _split_task(text)
    return kind + complete(path, wanted=_wanted(kind)).text


def _wanted(kind: str) -> Callable[[str], bool]:
    suffix = BUILT_IN[kind.removesuffix(":")].suffix if kind else ".py"
    return lambda name: bool(suffix) and name.endswith(suffix)


def _path_goes_on(text: str) -> str:
    """What to say of a task while it is typed: that it is there, or how its path could go on. Raises `UsageError`."""
    kind, path = _split_task(text)
    if is_file(path) or (kind and exists(path.partition(",")[0])):
        return "enter reads it"
    names = complete(path, wanted=_wanted(kind)).names
    if not names:
        return typed_task(text)
    return "  ".join(names[:MOST_NAMES]) + ("  …" if len(names) > MOST_NAMES else "")


def _effect(plan: "Plan", name: str | None) -> list[Part]:
    """What a plan comes to, in a line: for one layer, where it is about one, and for the network."""
    parts = []
    for layer in plan.layers:
        if layer.name == name:
            stay = Cell(f"{layer.after} of {layer.before} channels stay", "changed")
            parts.append(Part(0, ((stay, Cell(f": {layer.note}" if layer.note else "", "dim")), (stay,))))
    before, after = plan.before, plan.after
    params = Cell(f"{count(after.params)}  {share(after.params, before.params)}", "changed")
    macs = Cell(f"{count(after.macs)}  {share(after.macs, before.macs)}", "changed")
    parts.append(Part(1, ((Cell("params ", "dim"), params),)))
    parts.append(Part(2, ((Cell("MACs ", "dim"), macs),)))
    return parts
