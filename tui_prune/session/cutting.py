"""A plan carried out, proved and verified, with the report of what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace

from torch import Tensor, nn

from tui_prune.archives.origin import Edit
from tui_prune.cost.bench import Measured, measure
from tui_prune.cost.whole import share_of
from tui_prune.graph.graph import Graph
from tui_prune.loading.kept import compose_kept
from tui_prune.planning.criteria import CRITERIA
from tui_prune.planning.plan import Pair, Plan
from tui_prune.progress import Progress, silent
from tui_prune.recovery.dead import proved, take_up
from tui_prune.result import Equivalence, Latency, Report, Result, found_row, layer_rows, lock_rows
from tui_prune.session.plans import Planning
from tui_prune.surgery.fit import Fitted, fit
from tui_prune.surgery.shortening import removals
from tui_prune.surgery.surgery import kept_positions


def carry_out(planning: Planning, plan: Plan, progress: Progress = silent) -> Result:
    """Cut a network by a plan and verify it; the opened network stays as it is.

    Where its own code can't follow the plan, what it fixes is locked and the plan made anew: that of the result is
    another one then.

    Raises `TuiPruneError` when the cut network isn't equal to the masked original.
    """
    networks = planning.networks
    seconds = {"trace": networks.trace_seconds, "plan": 0.0}

    def plan_on(graph: Graph) -> Plan:
        started = time.perf_counter()
        try:
            return plan if graph is plan.graph else planning.on(graph, plan.recipe, progress)
        finally:
            seconds["plan"] += time.perf_counter() - started

    progress("cut", 0.0)
    started = time.perf_counter()
    fitted = fit(networks.subject_of(plan.graph), plan.graph, plan_on, progress=progress)
    assert fitted.verification is not None, "a cut that is handed out is verified"
    spent = time.perf_counter() - started - seconds["plan"]
    seconds["verify"] = fitted.verification.seconds
    seconds["cut"] = spent - seconds["verify"]
    if fitted.plan is plan:
        seconds["plan"] = plan.seconds
    result = _result_of(planning, fitted, seconds, progress)
    progress("verify", 1.0)  # raises where this was stopped, before anything is found out by it
    return result


def _result_of(planning: Planning, fitted: Fitted, seconds: Mapping[str, float], progress: Progress) -> Result:
    plan, made, verified = fitted.plan, fitted.cut, fitted.verification
    opened, subject = planning.networks.opened, planning.networks.subject
    assert verified is not None
    originals = dict(opened.module.named_modules())
    for name, part in made.module.named_modules():
        part.training = originals[name].training if name in originals else opened.module.training
    latency = None
    table = planning.networks.latency_table
    if plan.recipe.target_latency is not None and table is not None:
        latency = Latency(*planning.latencies(plan), None, None, table.device)
    elif plan.recipe.target_latency is not None:
        before, after = measure([opened.module, made.module], *subject.arguments, progress)
        latency = _latency(before, after, plan.predicted_share)
    report = Report(
        model=opened.title,
        recipe=plan.recipe.to_dict(),
        params=Pair(plan.before.params, plan.after.params),
        macs=Pair(plan.before.macs, plan.after.macs),
        bytes=Pair(plan.before.bytes, plan.after.bytes),
        layers=layer_rows(plan),
        locks=lock_rows(plan.graph),
        equivalence=Equivalence(
            verified.kind,
            verified.max_error,
            str(verified.precision).removeprefix("torch."),
            verified.operators if verified.kind == "structural" else (),
        ),
        seconds=seconds,
        found=found_row(plan),
        targets=tuple(asdict(reached) for reached in plan.reached),
        latency=latency,
        sizes_in_doubt=fitted.doubtful,
    )
    positions = kept_positions(plan.graph, made.tensors)
    outputs = verified.outputs
    if CRITERIA[plan.recipe.criterion].exact and plan.cuts:
        outputs, error = _unmasked(made.module, planning, plan, positions)
        report = replace(report, equivalence=replace(report.equivalence, max_error=error))
    return Result(
        model=made.module,
        plan=plan,
        report=report,
        origin=opened.origin,
        edits=_latest_edits((*opened.edits, *_removals(plan.graph), *made.edits)),
        kept=compose_kept(opened.kept, positions, plan.graph.record.shapes),
        example_inputs=opened.example_inputs,
        example_kwargs=subject.kwargs,
        reference_outputs=outputs,
        positions=positions,
        input_spec=opened.input_spec,
    )


def _unmasked(
    cut: nn.Module, planning: Planning, plan: Plan, positions: Mapping[str, Tensor]
) -> tuple[tuple[Tensor, ...], float]:
    """Let the layers of a cut network take up what channels that do nothing have given, and compare it with the
    original itself. Gives its outputs, and the largest error. Raises `NotEqual`."""
    graph, subject = plan.graph, planning.networks.subject_of(plan.graph)
    take_up(subject.model, cut, graph, plan.keep, positions, planning.of(graph).dead(graph))
    return proved(subject.model, cut, *subject.arguments)


def _latency(before: Measured, after: Measured, predicted: float) -> Latency:
    """What a cut has brought, from passes of both networks in turn."""
    share, whole = share_of(before.passes, after.passes), before.latency
    return Latency(whole, predicted * whole, share.median * whole, (share.least * whole, share.most * whole))


def _latest_edits(edits: tuple[Edit, ...]) -> tuple[Edit, ...]:
    """Keep the last edit of each attribute."""
    return tuple({(edit.module, edit.attribute, edit.path): edit for edit in edits}.values())


def _removals(graph: Graph) -> tuple[Edit, ...]:
    return () if graph.gone is None else removals(graph.gone.branches)
