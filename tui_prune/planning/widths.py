"""How many channels of each group stay, and which: by a ratio, or by a threshold, at multiples of the alignment.

Never touches the model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import floor, gcd, lcm

import numpy as np

from tui_prune.errors import UsageError
from tui_prune.graph.graph import Graph, Group, Layer
from tui_prune.planning.criteria import CRITERIA
from tui_prune.planning.plan import By, Decision, FamilySteps, Limit, LockedBy, Note, Noted
from tui_prune.planning.recipe import Recipe, choose, matches

Scores = Sequence[np.ndarray | None]


@dataclass(frozen=True, eq=False)
class Choice:
    """What a recipe says of one group."""

    own: tuple[str, float] | None
    """The recipe's own entry: its key and the ratio."""
    align: int
    held: np.ndarray
    """Per channel: must stay."""
    locked: str | None
    """Why nothing of it can be cut."""
    locked_by: LockedBy | None

    @property
    def own_ratio(self) -> float | None:
        return None if self.own is None else self.own[1]


@dataclass(frozen=True, eq=False)
class Kept:
    """Which channels stay; tuples have one entry for each group of the graph."""

    mask: np.ndarray
    """Bool, one per channel of the graph."""
    unaligned: np.ndarray
    """The same, if nothing were aligned."""
    notes: tuple[Note, ...]
    """Why the group is as wide as it is, where that needs saying. Where no multiple fits, each layer has own words."""
    decisions: tuple[Decision, ...]

    def with_groups(self, other: "Kept", groups: Sequence[Group]) -> "Kept":
        """The same, but some groups as they are in another."""
        mask, unaligned, notes, decisions = (
            self.mask.copy(),
            self.unaligned.copy(),
            list(self.notes),
            list(self.decisions),
        )
        for group in groups:
            mask[group.channels] = other.mask[group.channels]
            unaligned[group.channels] = other.unaligned[group.channels]
            notes[group.index], decisions[group.index] = other.notes[group.index], other.decisions[group.index]
        mask.flags.writeable = False
        return Kept(mask, unaligned, tuple(notes), tuple(decisions))


class Draft:
    """All plans of a recipe that differ only in the ratio of the groups that have none of their own."""

    def __init__(self, graph: Graph, recipe: Recipe, scores: Scores, align: int) -> None:
        """`align` is the recipe's own, or the one that "auto" has led to. Raises `UsageError` for a lock that can't be
        lifted."""
        self.graph, self.recipe, self.scores, self.align = graph, recipe, scores, align
        self._orders: dict[int, np.ndarray] = {}
        """By the cell's identity, which the graph keeps alive: the same for every ratio."""
        self.choices = tuple(self._choose(group, align) for group in graph.groups)

    def _choose(self, group: Group, align: int) -> Choice:
        names, own_names = map(self._all_names, (group.layers + group.followers, group.own_layers))
        return _choose(group, self.recipe, align, names, own_names)

    def _all_names(self, layers: tuple[str, ...]) -> tuple[str, ...]:
        return layers + tuple(name for name, first in self.graph.second_names.items() if first in layers)

    def keep(self, ratio: float) -> Kept:
        """What stays at a ratio."""
        kept = np.ones(self.graph.classes.channels, bool)
        unaligned = kept.copy()
        survivors = self._survivors(ratio)
        notes, decisions = [], []
        for group, choice in zip(self.graph.groups, self.choices, strict=True):
            alive = None if survivors is None or choice.own is not None else survivors[group.index]
            own = ratio if choice.own_ratio is None else choice.own_ratio
            masks, note, decision = self._keep_in_group(group, choice, own, alive)
            kept[group.channels], unaligned[group.channels] = masks
            notes.append(note)
            decisions.append(decision)
        kept.flags.writeable = False
        return Kept(kept, unaligned, tuple(notes), tuple(decisions))

    def ratios(self) -> np.ndarray:
        """Every ratio below 1 at which some width changes, ascending from 0: between two of them all plans are one."""
        if self.recipe.scope == "global":
            # At ratio r > 0 the int(T r) lowest go and the one at the threshold.
            total = len(self._ranking)
            found = np.arange(total) / max(total, 1)
            found[:1] = 0.5 / max(total, 1)
        else:
            sizes = {size for sizes in map(self._sizes, self.graph.groups, self.choices) for size in sizes}
            found = np.concatenate([np.arange(size) / size for size in sizes] or [np.zeros(0)])
        return np.unique(np.concatenate([[0.0], found]))

    def _sizes(self, group: Group, choice: Choice) -> list[int]:
        """The numbers of channels that a group's ratio is a share of."""
        if choice.own_ratio is not None or choice.held.all() or self.scores[group.index] is None:
            return []
        if group.flows:
            return [len(group.channels)]
        if group.linked:
            return [gcd(*(len(cells[0]) for cells in group.families))]
        return [size for cells in group.families if (size := _free(cells, choice.held))]

    @cached_property
    def _starts(self) -> np.ndarray:
        """Where each group's channels begin when all groups' are laid in a row; the end of all is the last."""
        return np.cumsum([0, *(len(group.channels) for group in self.graph.groups)])

    @cached_property
    def _ranking(self) -> np.ndarray:
        """All channels that are ranked together, as places in that row, the lowest score first."""
        places, values = [np.zeros(0, np.int64)], [np.zeros(0)]
        for start, choice, score in zip(self._starts, self.choices, self.scores, strict=False):
            if choice.own_ratio is None and score is not None:
                free = np.flatnonzero(~choice.held)
                places.append(start + free)
                values.append(score[free])
        return np.concatenate(places)[np.argsort(np.concatenate(values), kind="stable")]

    def _survivors(self, ratio: float) -> list[np.ndarray] | None:
        """For each group the channels that the threshold, or one ranking of all, leaves; None: ratios say it all.

        Of T ranked channels at ratio r the int(T r) lowest and the one at the threshold go.
        """
        if self.recipe.threshold is not None:
            return [
                np.ones(len(group.channels), bool) if score is None else (score >= self.recipe.threshold) | choice.held
                for group, choice, score in zip(self.graph.groups, self.choices, self.scores, strict=True)
            ]
        if self.recipe.scope != "global" or not ratio:
            return None
        alive = np.ones(self._starts[-1], bool)
        alive[self._ranking[: floor(len(self._ranking) * ratio + 1e-9) + 1]] = False
        return np.split(alive, self._starts[1:-1])

    def _keep_in_group(
        self, group: Group, choice: Choice, ratio: float, alive: np.ndarray | None
    ) -> tuple[tuple[np.ndarray, np.ndarray], Note, Decision]:
        """The mask of a group's kept channels and what it would be without alignment, why it is as it is, and how it
        came to that."""
        kept = np.ones(len(group.channels), bool)
        unaligned = kept.copy()
        scores = self.scores[group.index]
        by: By = "ratio" if alive is None else "ranking" if self.recipe.threshold is None else "threshold"
        decision = Decision(by, ratio, choice.own and choice.own[0], choice.align)
        if choice.held.all() or (not ratio and alive is None):
            return (kept, kept), Note(), replace(decision, by="lock" if choice.held.all() else "nothing")
        if scores is None:
            missing = f"can't be ranked by {self.recipe.criterion}: {CRITERIA[self.recipe.criterion].missing}"
            return (kept, kept), Note(Noted.UNRANKED, missing), replace(decision, by="unranked")
        if CRITERIA[self.recipe.criterion].exact:  # then neither even blocks nor an alignment take what counts
            choice = replace(choice, held=choice.held | (scores > 0))
            if choice.held.all():
                return (kept, kept), Note(), replace(decision, by="nothing")
        if group.flows:
            kept, note, wanted = self._keep_by_flow(group, choice, ratio, alive, scores)
            return (kept, kept), note, replace(decision, wanted=wanted)
        notes: list[Note] = []
        held = choice.held.copy()
        for share in group.shares:
            held[share[np.argmax(scores[share])]] = True
        families = tuple(self._family(group, choice, cells, held, ratio, alive, notes) for cells in group.families)
        for cells, steps in zip(group.families, families, strict=True):
            for cell in cells:
                ranked = self._ranked(cell, scores, held)
                kept[ranked[steps.stay :]] = False
                unaligned[ranked[steps.wanted :]] = False
        if not notes and group.blocked:
            notes.append(Note(Noted.BLOCKS, f"equally many in each block ({', '.join(group.blocks)})"))
        note = next((note for note in notes if note.about is Noted.UNALIGNED), notes[0] if notes else Note())
        return (kept, unaligned), note, replace(decision, families=families)

    def _ranked(self, cell: np.ndarray, scores: np.ndarray, held: np.ndarray) -> np.ndarray:
        """A cell's channels in the order in which they stay: those that must, then the others by their scores."""
        if id(cell) not in self._orders:
            self._orders[id(cell)] = cell[np.lexsort((-scores[cell], ~held[cell]))]
        return self._orders[id(cell)]

    def _family(
        self,
        group: Group,
        choice: Choice,
        cells: Sequence[np.ndarray],
        held: np.ndarray,
        ratio: float,
        alive: np.ndarray | None,
        notes: list[Note],
    ) -> FamilySteps:
        """How many channels stay in each cell of a family, step by step. `held` counts what must stay in the end,
        `choice.held` what a ratio isn't a share of."""
        size, free = len(cells[0]), _free(cells, choice.held)
        base = gcd(*(len(family[0]) for family in group.families)) if group.linked else size
        steps = FamilySteps(len(cells), size, free, size, size, size, "", 1)
        if group.linked and choice.held.any():
            return replace(steps, limit="channels that are locked stay", limited=Limit.LOCKED)
        if alive is None:
            keep = base - floor((base if group.linked else free) * ratio + 1e-9)
        elif group.linked:
            keep = floor(base * float(alive.mean()) + 0.5)
        else:
            keep = floor(sum(int(alive[cell].sum()) for cell in cells) / len(cells) + 0.5)
        asked, unit = keep, size // base
        must = max(int(held[cell].sum()) for cell in cells)
        most, limited, why = self._least(group, base)
        if group.linked:
            must = -(-must * base // size)
        least = max(must, most, 1)
        if most > max(keep, must):
            notes.append(Note(Noted.LIMIT, why))
        keep = min(max(keep, least), base)
        if keep == asked:
            limited, limit = Limit.NOTHING, ""
        elif keep == most:
            limit = why
        elif must:
            limited, limit = Limit.STAYING, "what must stay does"
        else:
            limited, limit = Limit.ONE, "one stays at least"
        step = linked_step(group, choice.align, base) if group.linked else alignment_step(group, choice.align)
        steps = replace(steps, asked=asked * unit, limit=limit, step=step * unit, limited=limited)
        if keep == base and (group.linked or base % step == 0):
            return steps
        found = aligned(keep, base, step, self.recipe.align_rounding, least)
        if found is None:
            kept = f"can't be aligned to {choice.align}: at least {least} of {base} channels stay"
            notes.append(Note(Noted.UNALIGNED, kept if step <= base else ""))
            found = keep
        return replace(steps, wanted=keep * unit, stay=found * unit)

    def _least(self, group: Group, size: int) -> tuple[int, Limit, str]:
        """How many of `size` the recipe's limits leave at least, and which of them does, also in words."""
        recipe = self.recipe
        if group.linked:
            steps = [width // size for width in group.producer_widths]
        else:
            steps = [unit * cells for unit, cells in group.slots_per_channel]
        counted = min(max(-(-recipe.min_channels // step) for step in steps), size) if recipe.min_channels > 1 else 0
        shared = size - floor(size * recipe.max_ratio + 1e-9)
        if counted >= shared:
            return counted, Limit.LEAST, f"at least {recipe.min_channels} channels stay"
        return shared, Limit.MOST, f"at most {100 * recipe.max_ratio:.3g} % of it goes"

    def _keep_by_flow(
        self, group: Group, choice: Choice, ratio: float, alive: np.ndarray | None, scores: np.ndarray
    ) -> tuple[np.ndarray, Note, float]:
        """Of an uneven group: the width next to the wanted one that its code can deal out, and who stays in each
        cell."""
        size = len(group.channels)
        wanted = size - floor(size * ratio + 1e-9) if alive is None else int(alive.sum())
        (cells,) = group.families
        kept = np.ones(size, bool)
        must = [int(choice.held[cell].sum()) for cell in cells]
        least, _, why = self._least(group, group.width)
        possible = [
            flow
            for flow in group.flows
            if flow.width >= least and all(n >= held for n, held in zip(flow.counts, must, strict=True))
        ]
        if not possible:
            return kept, Note(), group.width * wanted / size
        fitting = [
            flow for flow in possible if all(width % choice.align == 0 for width in flow.widths or (flow.width,))
        ]
        width = group.width * wanted / size
        chosen = min(fitting or possible, key=lambda flow: (abs(flow.width - width), -flow.width))
        for cell, count in zip(cells, chosen.counts, strict=True):
            kept[self._ranked(cell, scores, choice.held)[count:]] = False
        if choice.align > 1 and not fitting:
            note = f"can't be aligned to {choice.align}: it can't have such a width"
            return kept, Note(Noted.UNALIGNED, note), width
        if least > width:
            return kept, Note(Noted.LIMIT, why), width
        how = "as its code deals channels out" if chosen.is_seen else "equally many in each block"
        return kept, Note(Noted.BLOCKS, f"{how} ({', '.join(group.blocks)})"), width


def _free(cells: Sequence[np.ndarray], held: np.ndarray) -> int:
    """How many channels of each cell a ratio is a share of."""
    return min(int((~held[cell]).sum()) for cell in cells)


def _choose(group: Group, recipe: Recipe, align: int, names: Sequence[str], own_names: Sequence[str]) -> Choice:
    """What the recipe says of a group, by the names of all its layers and of those that patterns speak of."""
    held = group.locked
    unlock = next((key for key in recipe.unlock if any(matches(key, name) for name in group.layers)), None)
    if unlock is not None and group.locked.any():
        exact = unlock in group.layers
        if exact and group.locked_inside.all():
            reason = next(lock for lock in group.locks if not lock.is_output).words
            raise UsageError(f"{unlock} can't be unlocked: {reason}.")
        held = group.locked_inside
    locked = group.locks[0].words if held.all() and group.locks else None
    by = None if locked is None else LockedBy.NETWORK
    if any(key in names or any(matches(key, name) for name in own_names) for key in recipe.lock):
        held, locked, by = np.ones_like(held), "locked by you", LockedBy.USER
    elif group.residual and recipe.residual == "keep" and not held.all():
        held, locked, by = np.ones_like(held), "residual stream kept", LockedBy.RESIDUAL
    own = choose({key: ratio for key, ratio in recipe.layers.items() if ratio < 1}, names, own_names)
    own_align = choose(recipe.layer_align, names, own_names)
    return Choice(
        own=own,
        align=align if own_align is None else own_align[1],
        held=held,
        locked=locked,
        locked_by=by,
    )


def alignment_step(group: Group, align: int) -> int:
    """How many channels per cell must go at a time, for every producer's width to be a multiple of `align`."""
    return lcm(*(align // gcd(align, unit * cells) for unit, cells in group.slots_per_channel))


def linked_step(group: Group, align: int, base: int) -> int:
    """The same for a group whose cells all keep the same share, in steps of one `base`-th of each."""
    return lcm(*(align // gcd(align, width // base) for width in group.producer_widths))


def aligned(keep: int, size: int, step: int, rounding: str, least: int = 1) -> int | None:
    """The multiple of `step` that a kept count goes to: never above the size, never below one step or `least`; None:
    there is no such multiple."""
    if step == 1:
        return max(keep, least)
    down = keep // step * step
    up = down if down == keep else down + step
    if rounding == "nearest":
        chosen = up if up - keep <= keep - down else down
    else:
        chosen = up if rounding == "up" else down
    chosen = max(min(chosen, size // step * step), -(-least // step) * step, step)
    return chosen if chosen <= size else None


def why_unaligned(graph: Graph, layer: Layer, align: int) -> str:
    """Why no width of a layer and those tied to it is a multiple."""
    assert layer.group is not None
    group = graph.groups[layer.group]
    tied = [layer, *(other for other in graph.layers if other.producer and other.group == group.index)]
    narrow = next((other for other in tied if other.width < align), None)
    if narrow is not None:
        return f"{'it' if narrow is layer else narrow.name} has {narrow.width} channels"
    if len(group.families[0]) > 1:
        return f"{', '.join(group.blocks)} asks for equal blocks of {len(group.families[0][0])}"
    steps = [(other, other.width // max(len(np.unique(other.outputs)), 1)) for other in tied]
    coarse, step = max(steps, key=lambda pair: pair[1])
    whose = "its" if coarse is layer else f"{coarse.name}'s"
    return f"{whose} channels go {step} at a time"
