"""The two lines that sum up: the title above (what the network was and would become) and the status below."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tui_prune.app.cells import Cell, Line, left, width_of
from tui_prune.app.columns import Part, compose
from tui_prune.formatting import count, half_width, share, size
from tui_prune.formatting import score as score_in_words
from tui_prune.tasks.evidence import evidence

if TYPE_CHECKING:
    from tui_prune.app.jobs import JobKind
    from tui_prune.planning.plan import Plan
    from tui_prune.planning.recipe import Recipe
    from tui_prune.result import Accuracy

BAR = 10
GAP = 3
SHOWS_ALL = "   ! shows all"


@dataclass(frozen=True)
class Score:
    """What the user's task says of the network as it was, once it is cut, and once it is recovered; None is what nobody
    has measured, or what there isn't."""

    before: float
    after: float | None = None
    recovered: float | None = None
    live: float | None = None
    """What the cut network would be worth if its layers were refitted (R does it)."""


@dataclass(frozen=True)
class Doing:
    """Long work that is on its way."""

    words: str
    stage: str
    done: float


def at_work(kind: "JobKind", stage: str, done: float) -> Doing:
    """A job on its way, at a stage that is only said where the job's own words don't say it."""
    return Doing(kind.words, "" if stage in kind.stages else stage, done)


def title(name: str, weights: str | None, plan: "Plan | None", score: Score | None, unsaved: bool, width: int) -> Line:
    """Network and weights file, then each sum before and after, and whether the plan is saved."""
    file = weights or "random weights"
    parts = [Part(3, ((Cell(name, "strong"), Cell(f" · {file}", "dim")), (Cell(name, "strong"),)))]
    if plan is not None:
        before, after = plan.before, plan.after
        parts += [
            _sum(0, "params", count(before.params), count(after.params), share(after.params, before.params)),
            _sum(1, "MACs", count(before.macs), count(after.macs), share(after.macs, before.macs)),
            Part(4, (*_sum(4, "", size(before.bytes), size(after.bytes), "").variants[:1], ())),
        ]
    if score is not None:
        parts.append(_score(score, plan is not None and plan.before != plan.after))
    if unsaved:
        parts.append(Part(0, ((Cell("● unsaved", "changed"),), (Cell("●", "changed"),))))
    return compose(parts, width)


def status(
    recipe: "Recipe",
    right_side: Line,
    width: int,
    found: float | None = None,
    marked: int = 0,
    hint: str = "",
) -> Line:
    """What the recipe says at the left, with the ratio that its targets have led to, after the number of layers that
    are marked; at the right whatever has just been found out, and where there is room what could be done next."""
    words = [*([f"{marked} marked"] if marked else []), *_amount(recipe, found)]
    amount = len(words)
    if recipe.align != 1:
        words.append(
            f"align {recipe.align}" + (f" {recipe.align_rounding}" if recipe.align_rounding != "nearest" else "")
        )
    words += [recipe.criterion, recipe.scope]
    extra = []
    if recipe.layers:
        extra.append(f"{len(recipe.layers)} own")
    if recipe.layer_align:
        extra.append(f"{len(recipe.layer_align)} aligned")
    if recipe.lock:
        extra.append(f"{len(recipe.lock)} locked")
    if recipe.unlock:
        extra.append(f"{len(recipe.unlock)} unlocked")
    if recipe.residual != "cut":
        extra.append("residuals stay")
    right_side = _fitted(tuple(right_side), width)
    full = (Cell(" · ".join([*words, *extra])),)
    if hint and width_of(full) + width_of(right_side) + len(hint) + 2 * GAP <= width:
        right_side = (*right_side, Cell(" " * GAP if right_side else ""), Cell(hint, "dim"))
    shorter = ((Cell(" · ".join(words[:number])),) for number in range(len(words), amount - 1, -1))
    said = sum(len(cell.text) for cell in right_side)
    line = compose([Part(1, (full, *shorter)), Part(0, (tuple(right_side),))], max(width, said))
    gap = width - sum(len(cell.text) for cell in line)
    if gap > 0 and right_side and len(line) > len(right_side):
        at = len(line) - len(right_side)
        line = (*line[:at], Cell(" " * gap), *line[at:])
    return line


def _fitted(side: Line, width: int) -> Line:
    """What was found out, within the width: a sentence about an error is shortened before the key that shows it all."""
    if not side or side[0].style != "error":
        return side
    spare = width - width_of(side)
    if spare < 0 and len(side) == 1:
        side, spare = (*side, Cell(SHOWS_ALL, "dim")), spare - len(SHOWS_ALL)
    first = side[0].text
    return (Cell(left(first, min(width_of(side[:1]), width_of(side[:1]) + spare)), "error"), *side[1:])


def _amount(recipe: "Recipe", found: float | None) -> list[str]:
    """How much the recipe says to cut."""
    words = [] if recipe.threshold is None else [f"scores from {recipe.threshold:g}"]
    for target in recipe.targets:
        value = getattr(recipe, target)
        said = size(value) if target == "target_bytes" else share(value, 1)
        words.append(f"{target.removeprefix('target_')} to {said}")
    if not words:
        return [f"cut {share(recipe.ratio, 1)}"]
    return [*words, f"cut {share(found, 1)}"] if recipe.targets and found is not None else words


def doing(work: Doing, stop: str = "   esc stops it") -> Line:
    """How far some work is, and how to stop it."""
    share_done = min(max(work.done, 0), 1)
    heavy = round(BAR * share_done)
    words = f"{work.words} {left(work.stage, 10)}" if work.stage else work.words
    bar = (Cell("━" * heavy, "changed"), Cell("╌" * (BAR - heavy), "dim"))
    return (Cell(f"{words} "), *bar, Cell(f" {100 * share_done:3.0f} %"), Cell(stop, "dim"))


def checked(kind: str, max_error: float) -> Line:
    """What a cut and its verification have shown of the present plan."""
    said = "verified" if kind == "exact" else f"verified, {kind}"
    figure = f"{max_error:.0e}".replace("e-0", "e-")
    return (Cell("proved", "strong"), Cell(" · ", "dim"), Cell(f"{said} {figure}", "strong"))


def suggested(recipe: "Recipe", plan: "Plan", accuracy: "Accuracy | None") -> str:
    """What a suggestion is and what it costs: "suggested: l2, 6 own ratios: MACs 50 %, 98.9 → 98.0 %"."""
    number = len(recipe.layers)
    how = f"{number} own ratio{'' if number == 1 else 's'}" if number else f"cut {share(plan.ratio, 1)}"
    words = f"suggested: {recipe.criterion}, {how}: MACs {share(plan.after.macs, plan.before.macs)}"
    if accuracy is None:
        return words
    after = accuracy.after if accuracy.recovered is None else accuracy.recovered
    lost = f"{words}, {score_in_words(accuracy.before, accuracy.before).removesuffix(' %')}"
    lost += f" → {score_in_words(after, accuracy.before)}"
    return lost if accuracy.recovered is None else f"{lost} recalibrated"


def _sum(rank: int, name: str, before: str, after: str, part: str) -> Part:
    start = (Cell(f"{name} " if name else "", "dim"),)
    if before == after:
        return Part(rank, ((*start, Cell(before)),))
    middle = (Cell(f"{before} → ", "dim"), Cell(after, "changed"))
    return Part(rank, ((*start, *middle, Cell(f"  {part}" if part else "")), (*start, *middle)))


def _score(score: Score, cut: bool) -> Part:
    percent = 0 <= score.before <= 1
    name, unit = ("accuracy", " %") if percent else ("score", "")

    def figure(value: float) -> str:
        return f"{100 * value:.1f}" if percent else f"{value:.4g}"

    said: Line
    last = score.after if score.recovered is None else score.recovered
    live = cut and score.recovered is None and score.live is not None
    last = score.live if live else last
    if last is None and cut:
        said = (Cell(f"{figure(score.before)} → ", "dim"), Cell("?"))
    elif last is None:
        said = (Cell(figure(score.before) + unit),)
    else:
        said = (Cell(f"{figure(score.before)} → ", "dim"), Cell(f"{figure(last)}{unit}", "changed"))
    lengths = [said]
    if score.after is not None and (score.recovered is not None or live):
        lengths.insert(0, (*said[:1], Cell(f"{figure(score.after)} → ", "dim"), *said[1:]))
    known = None if last is None and cut else evidence(score.before if last is None else last)
    if known is not None:
        lengths.insert(0, (*lengths[0], Cell(f" ±{half_width(known.interval)}", "dim")))
    if live:
        lengths = [(*lengths[0], Cell(" if reconstructed", "dim")), *((*one, Cell(" live", "dim")) for one in lengths)]
    words = [(Cell(f"{short} ", "dim"), *one) for one in lengths for short in (name, name[:3])]
    return Part(2, tuple(words))
