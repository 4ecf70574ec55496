"""From choices to a plan: how many channels of each group stay, and which. Never touches the model."""

import difflib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from tui_prune.cost.cost import Cost, CostModel
from tui_prune.cost.latency import LatencyModel
from tui_prune.errors import UsageError
from tui_prune.graph.graph import UNREACHED, GoneLayer, Graph, Layer
from tui_prune.planning.plan import LayerPlan, LockedBy, Note, Noted, Pair, Plan, Reached
from tui_prune.planning.recipe import Recipe, matches
from tui_prune.planning.targets import Spent, found_in_words, goals_of, largest_network, unreachable
from tui_prune.planning.widths import Draft, Kept, Scores, why_unaligned

FAILED = (Noted.UNALIGNED, Noted.UNRANKED)
"""What couldn't be done with a layer as asked."""
COLLAPSE = 32
"""A layer has collapsed when it keeps at most one channel in this many."""


class Planner:
    """Plans for one graph: what doesn't depend on the recipe is computed once."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._costs = CostModel(graph)
        self._before, self._layers_before = self._costs.measure(np.ones(graph.classes.channels, bool))
        for one in graph.gone.layers if graph.gone is not None else ():
            self._before = _with_cost_of(self._before, one)
            self._layers_before.params[one.layer.name] = one.params
            self._layers_before.macs[one.layer.name] = one.macs
            self._layers_before.bytes[one.layer.name] = one.bytes
        self._outputs = _Counts([layer.outputs for layer in graph.layers])
        self._inputs = _Counts([layer.inputs for layer in graph.layers])

    @property
    def _gone(self) -> dict[str, str]:
        """What to say of each layer that went with a residual branch."""
        gone = self.graph.gone
        if gone is None:
            return {}
        return {
            one.layer.name: f"the residual branch of {gone.branch_of(one.layer.name)} goes whole" for one in gone.layers
        }

    def plan(self, recipe: Recipe, scores: Scores, latency: LatencyModel | None = None) -> Plan:
        """The plan of a recipe, with the scores of its criterion (`criteria.score_groups`); with what layers take on
        this device where the recipe `needs_latency`.

        Raises `UsageError` for a layer name that means nothing, for a lock that can't be lifted, and for a target that
        can't be reached.
        """
        started = time.perf_counter()
        plan = self._planned(recipe, scores, latency)
        return replace(plan, seconds=time.perf_counter() - started)

    def _planned(self, recipe: Recipe, scores: Scores, latency: LatencyModel | None) -> Plan:
        self.check_names(recipe)
        if recipe.needs_latency and latency is None:
            raise ValueError("this recipe needs a latency model")
        draft = Draft(self.graph, recipe, scores, _alignment(recipe, latency))
        if not recipe.targets:
            return self._plan(draft, draft.keep(recipe.ratio), recipe.ratio)

        def spent(keep: np.ndarray) -> Spent:
            cost = self._costs.measure(keep)[0]
            seconds = latency.seconds(keep) if latency is not None and recipe.target_latency is not None else 0.0
            return {
                "target_macs": cost.macs,
                "target_params": cost.params,
                "target_bytes": cost.bytes,
                "target_latency": seconds,
            }

        whole = {
            "target_macs": self._before.macs,
            "target_params": self._before.params,
            "target_bytes": self._before.bytes,
        }
        goals = goals_of(recipe, {**spent(np.ones(self.graph.classes.channels, bool)), **whole})
        found = largest_network(draft, spent, goals)
        if found is None:
            largest = (float(draft.ratios()[-1]) + 1) / 2
            last = self._plan(draft, draft.keep(largest), largest)
            seconds = latency.by_layer(last.keep) if latency is not None else {}
            raise unreachable(last, goals, spent(last.keep), seconds)
        plan = self._plan(draft, found.kept, found.ratio)
        after = spent(plan.keep)
        reached = tuple(Reached(goal.target, goal.limit, goal.before, after[goal.target]) for goal in goals)
        return replace(plan, reached=reached, notes=(found_in_words(recipe, found, reached), *plan.notes))

    def _plan(self, draft: Draft, kept: Kept, ratio: float) -> Plan:
        choices, keep, unreached = draft.choices, kept.mask, dict.fromkeys(self.graph.unreached, UNREACHED)
        after, layers_after = self._costs.measure(keep)
        before = self._layers_before
        gone = self._gone
        said = [self._note(layer, draft, kept) for layer in self.graph.layers]
        widths = zip(self.graph.layers, self._outputs.of(keep), self._inputs.of(keep), said, strict=True)
        layers = tuple(
            LayerPlan(
                name=layer.name,
                kind=layer.kind,
                group=layer.group,
                producer=layer.producer,
                before=layer.width,
                after=0 if layer.name in gone else outputs if len(layer.outputs) else layer.width,
                in_before=layer.in_width,
                in_after=0 if layer.name in gone else inputs if len(layer.inputs) else layer.in_width,
                params=Pair(before.params.get(layer.name, 0), layers_after.params.get(layer.name, 0)),
                macs=Pair(before.macs.get(layer.name, 0), layers_after.macs.get(layer.name, 0)),
                bytes=Pair(before.bytes.get(layer.name, 0), layers_after.bytes.get(layer.name, 0)),
                ratio=kept.decisions[layer.group].ratio if layer.group is not None else float(layer.name in gone),
                own_ratio=layer.name in gone
                or (layer.group is not None and choices[layer.group].own_ratio is not None),
                locked=choices[layer.group].locked if layer.group is not None else unreached.get(layer.name),
                note=note.words,
                locked_by=choices[layer.group].locked_by
                if layer.group is not None
                else LockedBy.NETWORK
                if layer.name in unreached
                else None,
                noted=note.about,
            )
            for layer, outputs, inputs, note in widths
        )
        named = {group.name for group in self.graph.groups}
        notes = (
            *(f"{layer.name} {layer.note}" for layer in layers if layer.noted in FAILED and layer.name in named),
            *self._output_notes(layers),
            *_collapse_notes(layers),
            *_chance_notes(draft, keep),
        )
        return Plan(
            draft.recipe,
            self.graph,
            keep,
            layers,
            self._before,
            after,
            notes,
            ratio,
            draft.align,
            decisions=kept.decisions,
            unaligned=kept.unaligned,
        )

    def with_channels(self, plan: Plan, keep: np.ndarray) -> Plan:
        """A plan by the same recipe of which exactly these channels stay, however they were chosen."""
        after, layers_after = self._costs.measure(keep)
        widths = zip(self.graph.layers, self._outputs.of(keep), self._inputs.of(keep), plan.layers, strict=True)
        layers = tuple(
            replace(
                own,
                after=outputs if len(layer.outputs) else own.before,
                in_after=inputs if len(layer.inputs) else own.in_before,
                params=Pair(own.params.before, layers_after.params.get(layer.name, 0)),
                macs=Pair(own.macs.before, layers_after.macs.get(layer.name, 0)),
                bytes=Pair(own.bytes.before, layers_after.bytes.get(layer.name, 0)),
                note="",
                noted=Noted.NOTHING,
            )
            for layer, outputs, inputs, own in widths
        )
        spent = {"target_macs": after.macs, "target_params": after.params, "target_bytes": after.bytes}
        reached = tuple(replace(one, after=spent.get(one.target, one.after)) for one in plan.reached)
        return replace(
            plan, keep=keep, layers=layers, after=after, reached=reached, unaligned=keep,
            notes=(*self._output_notes(layers), *_collapse_notes(layers)),
        )  # fmt: skip

    def _output_notes(self, layers: Sequence[LayerPlan]) -> Iterator[str]:
        """What to say of model outputs that are cut, since their locks were lifted."""
        for layer in layers:
            group = None if layer.group is None else self.graph.groups[layer.group]
            if group is not None and layer.producer and layer.after < layer.before and group.liftable:
                left = f"{layer.after} of {layer.before} channels"
                yield f"{layer.name} puts out the model's output, which has {left} left"

    def _note(self, layer: Layer, draft: Draft, kept: Kept) -> Note:
        """Why a layer has its width, in its own channels."""
        if layer.name in self._gone:
            return Note(Noted.GONE, self._gone[layer.name])
        if not layer.producer or layer.group is None:
            return Note()
        align, note = draft.choices[layer.group].align, kept.notes[layer.group]
        if note.about is Noted.UNALIGNED and not note.words:
            return Note(Noted.UNALIGNED, f"can't be aligned to {align}: {why_unaligned(self.graph, layer, align)}")
        if align > 1:
            wanted, stays = int(kept.unaligned[layer.outputs].sum()), int(kept.mask[layer.outputs].sum())
            if wanted != stays:
                return Note(Noted.ALIGNED, f"{wanted} aligned to {align}: {stays}")
        if note.about is Noted.NOTHING and layer.same_as is not None:
            return Note(Noted.SHARED, f"shares its weight with {layer.same_as}")
        return note

    def check_names(self, recipe: Recipe) -> None:
        """Raises `UsageError` for a name that means no layer."""
        names = [*(layer.name for layer in self.graph.layers), *self.graph.second_names]
        names += [name for group in self.graph.groups for name in group.layers]
        for key in (*recipe.layers, *recipe.layer_align, *recipe.lock, *recipe.unlock):
            if not any(matches(key, name) for name in names):
                raise unknown_layer(key, names)
        for key in (key for key, ratio in recipe.layers.items() if ratio == 1):
            if not any(matches(key, name) for name in self._gone):
                raise UsageError(
                    f"{key} can't be cut to nothing: it isn't inside a residual branch whose shortcut is its input. "
                    "Choose a ratio below 1."
                )


def _with_cost_of(cost: Cost, gone: GoneLayer) -> Cost:
    """The cost of a network with a layer that has gone from it."""
    return replace(cost, params=cost.params + gone.params, macs=cost.macs + gone.macs, bytes=cost.bytes + gone.bytes)


class _Counts:
    """Counts in each of many sets of channels how many are kept: all sets at once, since there may be thousands."""

    def __init__(self, sets: Sequence[np.ndarray]) -> None:
        self._channels = np.concatenate([np.zeros(0, np.int64), *sets])
        self._bounds = np.cumsum([0, *map(len, sets)])

    def of(self, keep: np.ndarray) -> list[int]:
        kept = np.concatenate([[0], np.cumsum(keep[self._channels])])
        return np.diff(kept[self._bounds]).tolist()


def _collapse_notes(layers: Sequence[LayerPlan]) -> Iterator[str]:
    """Say which layers are left with next to nothing, though they had a lot: what lies behind them can't recover."""
    collapsed = [layer for layer in layers if layer.producer and layer.before >= COLLAPSE * layer.after > 0]
    if len(collapsed) == 1:
        yield f"{collapsed[0].name} keeps only {collapsed[0].after} of {collapsed[0].before} channels"
    elif collapsed:
        worst = max(collapsed, key=lambda layer: layer.before / layer.after)
        left = f"{worst.after} of {worst.before} channels"
        yield f"{len(collapsed)} layers keep next to nothing, such as {worst.name}: {left}"


def _chance_notes(draft: Draft, keep: np.ndarray) -> Iterator[str]:
    """Say which layers have channels that all score the same: then which of them go is chance."""
    names = []
    for group, scores in zip(draft.graph.groups, draft.scores, strict=True):
        if scores is not None and len(scores) > 1 and not keep[group.channels].all() and np.ptp(scores) == 0:
            names.append(group.name)
    if names:
        which = names[0] if len(names) == 1 else f"{len(names)} layers, such as {names[0]},"
        yield f"the channels of {which} all score the same by {draft.recipe.criterion}, so which of them go is chance"


def uncosted_plan(graph: Graph, recipe: Recipe, scores: Scores) -> Plan:
    """Only which channels stay, for a trial: nobody asks what it costs, or for the layers one by one."""
    nothing = Cost(0, 0, 0, 0)
    return Plan(
        recipe, graph, Draft(graph, recipe, scores, int(recipe.align)).keep(recipe.ratio).mask, (), nothing, nothing, ()
    )


def check_layer(plan: Plan, name: str) -> None:
    """Raises `UsageError` for a name that no layer has."""
    try:
        plan.layer(name)
    except KeyError:
        raise unknown_layer(name, [layer.name for layer in plan.layers]) from None


def unknown_layer(name: str, names: Sequence[str]) -> UsageError:
    """What to say of a layer that isn't there."""
    close = difflib.get_close_matches(name, names, 3, 0.4)
    hint = f" Did you mean {' or '.join(close)}?" if close else " `tui-prune inspect` lists all."
    return UsageError(f"No layer is called {name}.{hint}")


def _alignment(recipe: Recipe, latency: LatencyModel | None) -> int:
    """The recipe's own, or the device's where it leaves that open."""
    return latency.multiple if latency is not None and recipe.finds_multiple else int(recipe.align)
