"""Why a layer is as wide as it is, in one line: what was asked for, what limits and ties made of it, and alignment."""

from __future__ import annotations

import numpy as np

from tui_prune.formatting import share, size
from tui_prune.graph.graph import Group, Layer
from tui_prune.planning.plan import Decision, FamilySteps, LayerPlan, Limit, LockedBy, Noted, Plan
from tui_prune.planning.recipe import matches
from tui_prune.planning.targets import TARGET_WORDS


def width_reason(plan: Plan, name: str) -> str:
    """Why a layer has its width: "120, not 118: 51 % of 240 cut leaves 118; nearest multiple of 8".

    Its numbers are outputs of that layer, or of the one that it names. Raises `KeyError` for a name that no layer has.
    """
    planned = plan.layer(name)
    layer = plan.graph.layer(name)
    if layer is None or layer.group is None:
        return _without_group(plan, planned, layer)
    group, decision = plan.graph.groups[layer.group], plan.decisions[layer.group]
    if decision.by == "lock":
        return f"all {planned.after} stay: {_lock(plan, planned, group)}"
    if decision.by == "unranked":
        return f"all {planned.after} stay: {group.name} {plan.layer(group.name).note}"
    if decision.by == "nothing":
        return f"all {planned.after} stay: {_nothing(plan, planned, decision)}"
    leader = _leader(plan, layer, group)
    head, why = _way(plan, leader, group, decision)
    if leader is layer:
        return f"{head}: {why}"
    if plan.layer(leader.name).after == planned.after:
        return f"{head}: tied to {leader.name}; {why}"
    return f"{planned.after}: tied to {leader.name}, which has {head}: {why}"


def _without_group(plan: Plan, planned: LayerPlan, layer: Layer | None) -> str:
    """Of a layer whose outputs can't be cut, or are channels of several groups side by side."""
    if plan.graph.gone is not None and (branch := plan.graph.gone.branch_of(planned.name)) is not None:
        return f"0: the residual branch of {branch} is cut to nothing"
    channels = np.zeros(0, int) if layer is None else np.unique(layer.outputs)
    names = [group.name for group in plan.graph.groups if np.isin(channels, group.channels).any()]
    if len(names) < 2:
        return f"all {planned.after} stay: {planned.locked or 'its outputs are in no group of channels'}"
    others = names[-1] if len(names) == 2 else f"{len(names) - 1} others"
    return f"{planned.after}: what {names[0]} and {others} leave, side by side"


def _leader(plan: Plan, layer: Layer, group: Group) -> Layer:
    """The layer that a width is told of: the group's first one where both carry the same channels; of a norm the
    layer before it that puts out its channels."""
    first = plan.graph.layer(group.name)
    mine = np.unique(layer.outputs)
    if first is not None and np.array_equal(np.unique(first.outputs), mine):
        return first
    if layer.producer:
        return layer
    found = layer
    for other in plan.graph.layers:
        if other is layer:
            break
        if other.producer and np.array_equal(np.unique(other.outputs), mine):
            found = other
    return found


def _lock(plan: Plan, planned: LayerPlan, group: Group) -> str:
    reason = planned.locked or "locked"
    if planned.locked_by is LockedBy.USER:
        keys = plan.recipe.lock
        if not any(matches(key, planned.name) for key in keys):
            tied = next((n for n in group.layers if any(matches(key, n) for key in keys)), None)
            return f"tied to {tied}, which is locked by you" if tied else reason
        return reason
    return f"locked, {reason}" if planned.locked_by is LockedBy.NETWORK else reason


def _nothing(plan: Plan, planned: LayerPlan, decision: Decision) -> str:
    if decision.own is not None:
        return "its own ratio is 0" if decision.own == planned.name else f"the ratio of {decision.own} is 0"
    return f"{_target(plan)}no cut is needed" if plan.recipe.targets else "the ratio is 0"


def _way(plan: Plan, layer: Layer, group: Group, decision: Decision) -> tuple[str, str]:
    """The width ("120, not 118"), and how it came about."""
    planned = plan.layer(layer.name)
    unit = _unit(layer, group)
    if decision.wanted is not None:
        return _dealt(plan, planned, group, decision, whole=unit > 0 and layer.width == group.width)
    if unit and len(decision.families) == 1:
        steps = decision.families[0]
        if steps.stay * steps.cells * unit == planned.after:
            return _steps(plan, planned, group, decision, steps, unit)
    return _part(plan, layer, planned, group, decision, whole=unit > 0)


def _unit(layer: Layer, group: Group) -> int:
    """How many outputs of a layer each of the group's channels stands for; 0: not the same number, or not of all."""
    channels, counts = np.unique(layer.outputs, return_counts=True)
    same = len(channels) == len(group.channels) and bool((counts == counts[0]).all())
    return int(counts[0]) if same and np.array_equal(channels, np.sort(group.channels)) else 0


def _steps(
    plan: Plan, planned: LayerPlan, group: Group, decision: Decision, steps: FamilySteps, unit: int
) -> tuple[str, str]:
    """Of a layer that carries all channels of its group: every step in its own outputs."""
    scale = unit * steps.cells
    asked, wanted, grid = steps.asked * scale, steps.wanted * scale, steps.step * scale
    words = [_asked(plan, planned, group, decision, steps, unit)]
    if wanted != asked:
        by_number = steps.limited is Limit.LEAST
        all_do = wanted == planned.before and by_number
        unsaid = planned.after != wanted and not (by_number and wanted == plan.recipe.min_channels)
        words.append(f"{steps.limit}{f', so all {wanted} do' if all_do else f': {wanted}' if unsaid else ''}")
    if planned.after != wanted:
        words.append(_multiple(plan, planned, decision.align, wanted, grid))
    elif planned.noted is Noted.UNALIGNED:
        words.append(planned.note)
    return _head(planned.after, asked), "; ".join(words)


def _head(after: int, asked: int) -> str:
    return f"{after}" if after == asked else f"{after}, not {asked}"


def _asked(plan: Plan, planned: LayerPlan, group: Group, decision: Decision, steps: FamilySteps, unit: int) -> str:
    """What ratio, threshold or ranking alone would leave."""
    scale = unit * steps.cells
    before, asked, free = steps.size * scale, steps.asked * scale, steps.free * scale
    blocks = f", as many in each of {steps.cells} blocks" if steps.cells > 1 else ""
    locked = free < before
    if decision.by == "threshold":
        score = f"{plan.recipe.threshold:.6g}"
        if steps.cells > 1 or group.linked:
            return f"scores of at least {score} leave {asked} of {before}{blocks}"
        which = f"all {before}" if asked == before else f"{asked} of {before}"
        return f"{which} score at least {score}{' or are locked' if locked else ''}"
    cut = _target(plan) if decision.own is None else ""
    if decision.by == "ranking":
        which = f"all {before}" if asked == before else f"{asked} of {before}"
        return f"{cut}global ranking keeps {which}{blocks}"
    of = f"of the {free} that aren't locked " if locked else f"of {before} "
    if steps.cells > 1 and not group.linked and not locked:
        of, blocks = "", f" in each of {steps.cells} blocks of {steps.size * unit}"
    elif group.linked:
        blocks = ", the same share of all that is tied,"
    return f"{cut}{_percent(decision.ratio)} {of}cut{_by(planned, decision)}{blocks} leaves {asked}"


def _multiple(plan: Plan, planned: LayerPlan, align: int, wanted: int, grid: int) -> str:
    """Which multiple the width is. `grid`: how far apart the widths are that the group can have when aligned."""
    low = wanted // grid * grid
    high = low if low == wanted else low + grid
    rounding = plan.recipe.align_rounding
    nearest = high if high - wanted <= wanted - low else low
    words = f"multiple of {grid}" + (f" (for {align})" if grid != align else "")
    if planned.after == {"nearest": nearest, "up": high, "down": low}[rounding]:
        return f"nearest {words}" if rounding == "nearest" else f"next {words} {rounding}"
    if planned.after == planned.before // grid * grid:
        return f"largest {words} in {planned.before}"
    return f"smallest {words}" + ("" if planned.after == grid else " that leaves enough")


def _dealt(plan: Plan, planned: LayerPlan, group: Group, decision: Decision, *, whole: bool) -> tuple[str, str]:
    """Of channels that fall into blocks unevenly, or that the network's own code deals out so: only some widths are
    possible."""
    assert decision.wanted is not None
    by_code = any(flow.is_seen for flow in group.flows)
    source = _source(plan, planned, decision)
    if not whole:
        how = "as the network's own code deals channels out" if by_code else "as many in each block"
        return f"{planned.after}", f"{source}, {how}"
    wanted = f"{decision.wanted:.5g}"
    head = f"{planned.after}" if planned.after == decision.wanted else f"{planned.after}, not {wanted}"
    words = [f"{source} of {planned.before} asks for {wanted}"]
    if planned.after != decision.wanted:
        possible = "its code can deal out" if by_code else "leaves as many in each block"
        words.append(f"nearest{' that fits' if decision.align > 1 else ''} that {possible}")
    if planned.noted not in (Noted.NOTHING, Noted.BLOCKS):
        words.append(planned.note)
    return head, "; ".join(words)


def _part(
    plan: Plan, layer: Layer, planned: LayerPlan, group: Group, decision: Decision, *, whole: bool
) -> tuple[str, str]:
    """Of a layer with a part of its group's channels, or with families of cells that are cut one by one."""
    wanted = planned.after if plan.unaligned is None else int(plan.unaligned[layer.outputs].sum())
    source = _source(plan, planned, decision)
    if whole:
        where = f" of its {planned.before}, in blocks of {len(decision.families)} kinds"
    else:
        kept, all_of_them = int(plan.keep[group.channels].sum()), len(group.channels)
        where = f" of its {planned.before} ({kept} of {all_of_them} that it shares)"
        if wanted != planned.after:
            where = f" of its {planned.before}"
    words = [f"{source} leaves {wanted}{where}"]
    words += sorted({steps.limit for steps in decision.families if steps.limit})[:1]
    if wanted != planned.after:
        words.append(f"aligned to {decision.align}")
    elif planned.noted is Noted.UNALIGNED:
        words.append(planned.note)
    return _head(planned.after, wanted), "; ".join(words)


def _source(plan: Plan, planned: LayerPlan, decision: Decision) -> str:
    """What says how much is cut, without the numbers of channels."""
    if decision.by == "threshold":
        return f"a threshold of {plan.recipe.threshold:.6g}"
    prefix = "" if decision.own is not None else _target(plan)
    if decision.by == "ranking":
        return f"{prefix}global ranking at {_percent(decision.ratio)}"
    return f"{prefix}a cut of {_percent(decision.ratio)}{_by(planned, decision)}"


def _by(planned: LayerPlan, decision: Decision) -> str:
    """Whose ratio it is, where it isn't that of all."""
    if decision.own is None:
        return ""
    return " by its own ratio" if decision.own == planned.name else f" by {decision.own}"


def _target(plan: Plan) -> str:
    recipe = plan.recipe
    said = [
        f"{TARGET_WORDS[name]} {size(value) if name == 'target_bytes' else share(value, 1)}"
        for name in recipe.targets
        if (value := getattr(recipe, name)) is not None
    ]
    return f"target {', '.join(said)}: " if said else ""


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.5g} %"
