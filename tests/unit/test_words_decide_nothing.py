"""Decisions are made on enums and types, never on what is shown: sentences may change without changing a plan."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests import small_nets
from tui_prune.errors import TuiPruneError
from tui_prune.graph.record import Lock
from tui_prune.loading.open_model import open_model
from tui_prune.planning import plan as plans
from tui_prune.planning import planner, widths
from tui_prune.planning.recipe import Recipe
from tui_prune.session.presets import presets, tried
from tui_prune.session.session import Session

ROOT = Path(__file__).parents[2] / "tui_prune"
SHOWN = {"words", "note", "notes", "reason", "locked", "limit", "obstacle", "failure", "said", "remark", "summary"}
"""Attributes whose values are shown."""
ASKING = {"startswith", "endswith", "find", "index", "count"}
FOREIGN = {
    ("tasks/batches.py", "'more than 1 value per channel' in message"),
    ("cost/measured_times.py", "model name"),
    ("cost/on_target.py", "model name"),
}
"""Words of others: PyTorch's exception, which has no type of its own, and a file of Linux."""


def sentence(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip()


def shown(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in SHOWN


def text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value != ""


def decisions(tree: ast.AST) -> Iterator[ast.AST]:
    """Places that compare what is shown, or look for words in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            inside = any(isinstance(operator, (ast.In, ast.NotIn)) for operator in node.ops)
            if any(map(sentence, sides)) or (any(map(shown, sides)) and (inside or any(map(text, sides)))):
                yield node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ASKING:
            yield from [node] if shown(node.func.value) or any(map(sentence, node.args)) else []


def test_nothing_looks_into_what_is_shown() -> None:
    found = []
    for file in sorted(ROOT.rglob("*.py")):
        name = file.relative_to(ROOT).as_posix()
        for node in decisions(ast.parse(file.read_text())):
            line = ast.unparse(node)
            if not any(name == other and words in line for other, words in FOREIGN):
                found.append(f"{name}, line {getattr(node, 'lineno', 0)}: {line}")
    assert found == []


@pytest.mark.parametrize(
    "line",
    ["job.words == RECOVERING or job.words == 'recovering'", "'depthwise conv' in kind", "note.reason.startswith('x')"],
)
def test_what_would_be_found(line: str) -> None:
    assert list(decisions(ast.parse(line)))


NETS: dict[str, Callable[[], nn.Module]] = {
    "halves": small_nets.Halves,
    "grouped": lambda: small_nets.GroupedChain([(12, 12, 3), (12, 24, 2)], [3, 1]),
    "uneven": small_nets.UnevenSplit,
    "residual": small_nets.Residual,
}
RECIPES = (
    {"ratio": 0.5},
    {"ratio": 0.6, "align": 3},
    {"ratio": 0.9, "min_channels": 3},
    {"ratio": 0.5, "criterion": "bn_scale"},
    {"ratio": 0.5, "residual": "keep"},
    {"ratio": 0.4, "scope": "global"},
)


def outcomes(kind: str) -> list[Any]:
    """Everything but words that a session makes of some recipes, locks, presets and a cut."""
    torch.manual_seed(0)
    session = Session(open_model(model=NETS[kind]().eval(), input_spec="1,3,4,4"))
    found: list[Any] = []

    def note() -> None:
        plan = session.plan
        found.append(plan.keep.tolist())
        found.extend((layer.noted, layer.locked_by, bool(layer.locked), bool(layer.note)) for layer in plan.layers)
        found.extend((one.by, one.ratio, [steps.limited for steps in one.families]) for one in plan.decisions)

    for fields in RECIPES:
        session.apply(Recipe(**fields))
        note()
    for layer in [layer.name for layer in session.plan.layers]:
        try:
            session.toggle_lock(layer)
        except TuiPruneError as error:
            found.append((type(error), error.remedies))
        note()
    session.go_to(1)
    found.append(session.cut().plan.keep.tolist())
    found.extend((one.kind, bool(one.obstacle)) for one in (tried(session, preset) for preset in presets(session)))
    return found


@pytest.mark.parametrize("kind", NETS)
def test_a_session_does_the_same_where_every_sentence_is_x(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = outcomes(kind)

    def without_words(about: plans.Noted = plans.Noted.NOTHING, words: str = "") -> plans.Note:
        return plans.Note(about, words and "x")

    for room in (planner, widths):
        monkeypatch.setattr(room, "Note", without_words)
    made = Lock.__init__

    def make(self: Lock, reason: str, *rest: Any, **named: Any) -> None:
        made(self, "x", *rest, **named)

    monkeypatch.setattr(Lock, "__init__", make)
    monkeypatch.setattr(TuiPruneError, "__str__", lambda self: "x")
    for place in ("planning.planner.why_unaligned", "planning.planner.found_in_words", "session.presets.in_words"):
        monkeypatch.setattr(f"tui_prune.{place}", lambda *given, **named: "x")
    assert outcomes(kind) == before
