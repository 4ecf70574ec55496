"""Collects what the Overview tab shows, from the session and from the work that runs."""

from typing import TYPE_CHECKING

from tui_prune.app.overview import LayerErrors, Overview, next_step
from tui_prune.tasks.evidence import evidence

if TYPE_CHECKING:
    from tui_prune.app.headlines import Score
    from tui_prune.app.outline import Node
    from tui_prune.app.screens.main_parts import MainParts


def overview_of(main: "MainParts", node: "Node") -> Overview:
    """The overview of what the main screen shows."""
    session, plan = main.session, main.plan
    present = plan is session.plan
    score = main.work.score(plan.recipe)
    figures = session.figures(plan.recipe)
    latency = None
    if figures.latency is not None and figures.uncut_latency is not None:
        latency = figures.uncut_latency, figures.latency
    saved = present and plan.cuts and not session.dirty and session.saved_to is not None
    return Overview(
        plan,
        node,
        score,
        _half_interval(score),
        latency,
        (_errors_left(main) if present else None) or _errors_expected(main),
        main.layer_tree.coupled(node),
        next_step(plan, has_task=session.task is not None, score=score, hint=main.work.hint(score), saved=saved),
    )


def _half_interval(score: "Score | None") -> float | None:
    """Half the width of the interval of what was measured last, in points of a hundred."""
    if score is None:
        return None
    measured = [value for value in (score.recovered, score.live, score.after, score.before) if value is not None]
    found = evidence(measured[0], score.before)
    return None if found is None else 50 * (found.interval[1] - found.interval[0])


def _errors_left(main: "MainParts") -> LayerErrors | None:
    """What was left wrong in each layer when the present plan's network was reconstructed."""
    recovered = main.session.recovered
    found = None if recovered is None else recovered.report.reconstruction
    if found is None or not found.layers:
        return None
    return LayerErrors("after reconstruction", {layer.name: layer.left for layer in found.layers})


def _errors_expected(main: "MainParts") -> LayerErrors | None:
    """What one pass over the calibration data says that will be left wrong behind each layer that is cut."""
    curves, plan = main.work.errors, main.plan
    if curves is None or curves.criterion != plan.recipe.criterion or not plan.cuts:
        return None
    layers = {layer.name: layer for layer in plan.layers}
    found = {}
    for curve in curves.curves:
        layer = layers.get(curve.layer)
        point = curve.at(1 - layer.after / layer.before) if layer is not None and layer.before else None
        if point is not None:
            found[curve.layer] = point.left
    if not any(found.values()):
        return None
    return LayerErrors(f"expected {sum(found.values()):.2g} in all", found)
