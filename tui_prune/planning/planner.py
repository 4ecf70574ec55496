"""From choices to a plan: how many channels of each group stay, and which. Never touches the model."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor, gcd, lcm

import numpy as np

from tui_prune.channels.graph import UNREACHED, Graph, Group, Layer
from tui_prune.errors import UsageError
from tui_prune.measuring.cost import CostModel
from tui_prune.planning.plan import LayerPlan, Pair, Plan
from tui_prune.planning.recipe import Recipe, choose, matches

Scores = Sequence[np.ndarray | None]

UNALIGNED = "can't be aligned"


@dataclass(frozen=True, eq=False)
class _Choice:
    """What the recipe says of one group."""

    ratio: float
    own_ratio: bool
    align: int
    held: np.ndarray
    """Per channel: must stay."""
    locked: str | None
    note: str = ""


class Planner:
    """Plans for one graph: what doesn't depend on the recipe is computed once."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._costs = CostModel(graph)
        self._before, self._layers_before = self._costs.measure(np.ones(graph.classes.channels, bool))

    def plan(self, recipe: Recipe, scores: Scores) -> Plan:
        """The plan of a recipe, with the scores of its criterion (`criteria.score_groups`).

        Raises `UsageError` for a layer name that means nothing and for a lock that can't be lifted.
        """
        self._check_names(recipe)
        choices = [self._choose(group, recipe) for group in self.graph.groups]
        wanted = _wanted_everywhere(self.graph.groups, choices, recipe, scores)
        keep = np.ones(self.graph.classes.channels, bool)
        unaligned = keep.copy()
        for group, choice, score in zip(self.graph.groups, choices, scores, strict=True):
            kept, before_alignment, note = _keep_in_group(group, choice, wanted[group.index], recipe, score)
            keep[group.channels], unaligned[group.channels] = kept, before_alignment
            choices[group.index] = replace(choice, note=note)
        keep.flags.writeable = False
        after, layers_after = self._costs.measure(keep)
        unreached = dict.fromkeys(self.graph.unreached, UNREACHED)
        layers = tuple(
            LayerPlan(
                name=layer.name,
                kind=layer.kind,
                group=layer.group,
                producer=layer.producer,
                before=layer.width,
                after=int(keep[layer.outputs].sum()) if len(layer.outputs) else layer.width,
                in_before=layer.in_width,
                in_after=int(keep[layer.inputs].sum()) if len(layer.inputs) else layer.in_width,
                params=Pair(self._layers_before.params.get(layer.name, 0), layers_after.params.get(layer.name, 0)),
                macs=Pair(self._layers_before.macs.get(layer.name, 0), layers_after.macs.get(layer.name, 0)),
                bytes=Pair(self._layers_before.bytes.get(layer.name, 0), layers_after.bytes.get(layer.name, 0)),
                ratio=choices[layer.group].ratio if layer.group is not None else 0.0,
                own_ratio=choices[layer.group].own_ratio if layer.group is not None else False,
                locked=choices[layer.group].locked if layer.group is not None else unreached.get(layer.name),
                note=self._note(layer, choices, keep, unaligned),
            )
            for layer in self.graph.layers
        )
        named = {group.name for group in self.graph.groups}
        notes = tuple(f"{layer.name} {layer.note}" for layer in layers if "can't" in layer.note and layer.name in named)
        return Plan(recipe, self.graph, keep, layers, self._before, after, notes)

    def _note(self, layer: Layer, choices: Sequence[_Choice], keep: np.ndarray, unaligned: np.ndarray) -> str:
        """Why a layer has its width, in its own channels."""
        if not layer.producer or layer.group is None:
            return ""
        choice = choices[layer.group]
        if choice.note == UNALIGNED:
            reason = self._why_unaligned(self.graph.groups[layer.group], layer, choice.align)
            return f"{UNALIGNED} to {choice.align}: {reason}"
        if choice.align > 1:
            wanted, stays = int(unaligned[layer.outputs].sum()), int(keep[layer.outputs].sum())
            if wanted != stays:
                return f"{wanted} aligned to {choice.align}: {stays}"
        if not choice.note and layer.same_as is not None:
            return f"shares its weight with {layer.same_as}"
        return choice.note

    def _why_unaligned(self, group: Group, layer: Layer, align: int) -> str:
        tied = [layer, *(other for other in self.graph.layers if other.producer and other.group == group.index)]
        narrow = next((other for other in tied if other.width < align), None)
        if narrow is not None:
            return f"{'it' if narrow is layer else narrow.name} has {narrow.width} channels"
        if len(group.families[0]) > 1:
            return f"{', '.join(group.blocks)} asks for equal blocks of {len(group.families[0][0])}"
        steps = [(other, other.width // max(len(np.unique(other.outputs)), 1)) for other in tied]
        coarse, step = max(steps, key=lambda pair: pair[1])
        whose = "its" if coarse is layer else f"{coarse.name}'s"
        return f"{whose} channels go {step} at a time"

    def _choose(self, group: Group, recipe: Recipe) -> _Choice:
        followers = tuple(member.layer for member in group.members if member.role == "follower")
        return _choose(group, recipe, self._all_names(group.layers + followers), self._all_names(group.own_layers))

    def _all_names(self, layers: tuple[str, ...]) -> tuple[str, ...]:
        return layers + tuple(name for name, first in self.graph.second_names.items() if first in layers)

    def _check_names(self, recipe: Recipe) -> None:
        names = [*(layer.name for layer in self.graph.layers), *self.graph.second_names]
        names += [name for group in self.graph.groups for name in group.layers]
        for key in (*recipe.layers, *recipe.layer_align, *recipe.lock, *recipe.unlock):
            if not any(matches(key, name) for name in names):
                raise unknown_layer(key, names)


def unknown_layer(name: str, names: Sequence[str]) -> UsageError:
    """What to say of a layer that isn't there."""
    close = difflib.get_close_matches(name, names, 3, 0.4)
    hint = f" Did you mean {' or '.join(close)}?" if close else " `tui-prune inspect` lists all."
    return UsageError(f"No layer is called {name}.{hint}")


def _choose(group: Group, recipe: Recipe, names: Sequence[str], own_names: Sequence[str]) -> _Choice:
    """What the recipe says of a group, by the names of all its layers and of those that patterns speak of."""
    held = group.locked
    unlock = next((key for key in recipe.unlock if any(matches(key, name) for name in group.layers)), None)
    if unlock is not None and group.locked.any():
        exact = unlock in group.layers
        if exact and group.locked_inside.all():
            reason = next(lock for lock in group.locks if lock.reason != "model output").reason
            raise UsageError(f"{unlock} can't be unlocked: {reason}.")
        held = group.locked_inside
    locked = group.locks[0].reason if held.all() and group.locks else None
    if any(key in names or any(matches(key, name) for name in own_names) for key in recipe.lock):
        held, locked = np.ones_like(held), "locked by you"
    elif group.residual and recipe.residual == "keep" and not held.all():
        held, locked = np.ones_like(held), "residual stream kept"
    own = choose(recipe.layers, names, own_names)
    align = choose(recipe.layer_align, names, own_names)
    return _Choice(
        ratio=recipe.ratio if own is None else own[1],
        own_ratio=own is not None,
        align=recipe.align if align is None else align[1],
        held=held,
        locked=locked,
    )


def _wanted_everywhere(
    groups: Sequence[Group], choices: Sequence[_Choice], recipe: Recipe, scores: Scores
) -> list[list[int]]:
    """For each family of each group, how many channels should stay in each cell, before alignment."""
    survivors = _rank_globally(groups, choices, recipe, scores) if recipe.scope == "global" and recipe.ratio else None
    wanted: list[list[int]] = []
    for group, choice in zip(groups, choices, strict=True):
        own = []
        if group.flows:
            size = len(group.channels)
            alive = int(survivors[group.index].sum()) if survivors is not None and not choice.own_ratio else None
            wanted.append([size - floor(size * choice.ratio + 1e-9) if alive is None else alive])
            continue
        if group.linked:
            wanted.append(_wanted_linked(group, choice, None if survivors is None else survivors[group.index], recipe))
            continue
        for cells in group.families:
            size = len(cells[0])
            if survivors is not None and not choice.own_ratio:
                alive = sum(int(survivors[group.index][cell].sum()) for cell in cells)
                keep = floor(alive / len(cells) + 0.5)
            else:
                free = min(int((~choice.held[cell]).sum()) for cell in cells)
                keep = size - floor(free * choice.ratio + 1e-9)
            least = max(int(choice.held[cell].sum()) for cell in cells)
            own.append(min(max(keep, least, 1), size))
        wanted.append(own)
    return wanted


def _wanted_linked(group: Group, choice: _Choice, survivors: np.ndarray | None, recipe: Recipe) -> list[int]:
    """The same share for all cells of a group, aligned: a multiple of the smallest unit that all cell sizes allow."""
    sizes = [len(cells[0]) for cells in group.families]
    base = gcd(*sizes)
    if choice.held.any():
        return sizes
    if survivors is not None and not choice.own_ratio:
        keep = floor(base * float(survivors.mean()) + 0.5)
    else:
        keep = base - floor(base * choice.ratio + 1e-9)
    keep = min(max(keep, 1), base)
    if keep < base:
        step = lcm(*(choice.align // gcd(choice.align, width // base) for width in group.producer_widths))
        keep = _align(keep, base, step, recipe.align_rounding) or keep
    return [keep * size // base for size in sizes]


def _rank_globally(
    groups: Sequence[Group], choices: Sequence[_Choice], recipe: Recipe, scores: Scores
) -> list[np.ndarray]:
    """Which channels survive when all that may be cut are ranked together.

    Of T channels at ratio r the int(T r) lowest and the one at the threshold go.
    """
    survivors = [np.ones(len(group.channels), bool) for group in groups]
    free = [
        np.flatnonzero(~choice.held) if not choice.own_ratio and score is not None else np.zeros(0, np.int64)
        for choice, score in zip(choices, scores, strict=True)
    ]
    owners = np.concatenate([np.full(len(f), i) for i, f in enumerate(free)]) if free else np.zeros(0, np.int64)
    places = np.concatenate(free) if free else owners
    if not len(places):
        return survivors
    values = np.concatenate([score[f] for score, f in zip(scores, free, strict=True) if score is not None])
    count = min(floor(len(places) * recipe.ratio + 1e-9) + 1, len(places))
    for n in np.argsort(values, kind="stable")[:count]:
        survivors[owners[n]][places[n]] = False
    return survivors


def _keep_in_group(
    group: Group, choice: _Choice, wanted: list[int], recipe: Recipe, scores: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, str]:
    """The mask of a group's kept channels, what it would be without alignment, and why it is as it is."""
    kept = np.ones(len(group.channels), bool)
    unaligned = kept.copy()
    whole = [len(group.channels)] if group.flows else [len(cells[0]) for cells in group.families]
    if choice.held.all() or (wanted == whole and not choice.ratio):
        return kept, kept, ""
    if scores is None:
        return kept, kept, f"can't be ranked by {recipe.criterion}: no batch norm covers its channels"
    if group.flows:
        kept, note = _keep_by_flow(group, choice, sum(wanted), recipe, scores)
        return kept, kept, note
    note = ""
    held = choice.held.copy()
    for share in group.shares:
        held[share[np.argmax(scores[share])]] = True
    for cells, keep in zip(group.families, wanted, strict=True):
        size = len(cells[0])
        step = 1 if group.linked else _alignment_step(group, choice.align)
        if keep == size and size % step == 0:
            continue
        aligned = _align(keep, size, step, recipe.align_rounding)
        least = max(int(held[cell].sum()) for cell in cells)
        keep = max(keep, least)
        if aligned is not None and aligned < least:
            aligned = -(-least // step) * step
            aligned = aligned if aligned <= size else None
        if aligned is None:
            note = UNALIGNED
            aligned = keep
        for cell in cells:
            ranked = cell[np.lexsort((-scores[cell], ~held[cell]))]
            kept[ranked[aligned:]] = False
            unaligned[ranked[keep:]] = False
    if not note and group.blocked:
        note = f"equally many in each block ({', '.join(group.blocks)})"
    return kept, unaligned, note


def _keep_by_flow(
    group: Group, choice: _Choice, wanted: int, recipe: Recipe, scores: np.ndarray
) -> tuple[np.ndarray, str]:
    """Of an uneven group: the width next to the wanted one that its code can deal out, and who stays in each cell."""
    (cells,) = group.families
    kept = np.ones(len(group.channels), bool)
    least = [int(choice.held[cell].sum()) for cell in cells]
    possible = [flow for flow in group.flows if all(n >= held for n, held in zip(flow.counts, least, strict=True))]
    aligned = [flow for flow in possible if flow.width % choice.align == 0]
    if not possible:
        return kept, ""
    width = group.width * wanted / len(group.channels)
    chosen = min(aligned or possible, key=lambda flow: (abs(flow.width - width), -flow.width))
    for cell, count in zip(cells, chosen.counts, strict=True):
        ranked = cell[np.lexsort((-scores[cell], ~choice.held[cell]))]
        kept[ranked[count:]] = False
    if choice.align > 1 and not aligned:
        return kept, f"can't be aligned to {choice.align}: no such width of it can be shuffled"
    return kept, f"as its code deals channels out ({', '.join(group.blocks)})"


def _alignment_step(group: Group, align: int) -> int:
    """How many channels per cell must go at a time, for every producer's width to be a multiple of `align`."""
    return lcm(*(align // gcd(align, unit * cells) for unit, cells in group.slots_per_channel))


def _align(keep: int, size: int, step: int, rounding: str) -> int | None:
    """The multiple of `step` that a kept count goes to: never above the size, never below one step; None: no room."""
    if step == 1:
        return keep
    if size < step:
        return None
    down = keep // step * step
    up = down if down == keep else down + step
    if rounding == "nearest":
        chosen = up if up - keep <= keep - down else down
    else:
        chosen = up if rounding == "up" else down
    return max(min(chosen, size // step * step), step)
