"""What the Channels tab says: which layers are tied to this one, what can't be cut, and why; of a module, its sum."""

from typing import TYPE_CHECKING

from tui_prune.app.cells import Cell, Line, left, wrap
from tui_prune.formatting import change, count, share, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui_prune.app.outline import Node
    from tui_prune.graph.graph import Group, Member
    from tui_prune.planning.plan import LayerPlan, Plan

ROLES = {
    "producer": "They put the channels out",
    "follower": "They go along",
    "consumer": "They take the channels in",
}


def describe_layer(plan: "Plan", name: str, width: int) -> tuple[Line, ...]:
    """A layer's channels in words."""
    layer, group = plan.layer(name), plan.graph.group_of(name)
    lines: list[Line] = [(Cell(layer.name, "strong"), Cell(f"  {layer.kind}", "dim")), ()]
    lines += _facts(
        [
            ("channels out", change(str(layer.before), str(layer.after))),
            ("channels in", change(str(layer.in_before), str(layer.in_after))),
            ("parameters", change(*map(count, layer.params))),
            ("MACs", change(*map(count, layer.macs))),
            ("ratio", _ratio(layer, plan.recipe.scope)),
        ]
    )
    from tui_prune.planning.plan import Noted
    from tui_prune.planning.reasons import width_reason  # with torch, as is whatever there is to describe

    reason = width_reason(plan, name)
    if layer.before != layer.after or not layer.locked:
        lines += [(), (Cell("Why this width", "strong"),), *_said(reason, width)]
    if layer.noted is Noted.SHARED:  # all other notes are part of the reason
        lines += _said(layer.note, width)
    if group is None:
        reason = layer.locked or "its outputs are in no group of channels"
        return (*lines, (), *_said(f"It can't be cut: {reason}.", width))
    lines += _locks(layer, group, width)
    lines += _blocks(group, width)
    lines += _members(group, layer.name, width)
    return tuple(lines)


def describe_module(plan: "Plan", node: "Node", notes: "Sequence[str]", width: int) -> tuple[Line, ...]:
    """A module's layers in sum, or those of repeated blocks; of the whole model also what should be known of it."""
    inside = tuple(f"{part.path}." for part in node.parts)
    layers = [layer for layer in plan.layers if not node.path or layer.name.startswith(inside)]
    params = [sum(layer.params[side] for layer in layers) for side in (0, 1)]
    macs = [sum(layer.macs[side] for layer in layers) for side in (0, 1)]
    locked = sum(1 for layer in layers if layer.producer and layer.locked)
    repeated = f" ×{len(node.parts)}" if node.repeated else ""
    lines: list[Line] = [(Cell(node.label, "strong"), Cell(f"  {node.class_name}{repeated}", "dim")), ()]
    facts = [
        ("layers", f"{len(node.layers)}" + (f", {locked} locked" if locked else "")),
        ("parameters", change(*map(count, params))),
        ("MACs", change(*map(count, macs))),
    ]
    if not node.path:
        facts += [
            ("weights", change(size(plan.before.bytes), size(plan.after.bytes))),
            ("largest activation", change(size(plan.before.activation_bytes), size(plan.after.activation_bytes))),
            ("can be cut", f"{share(plan.graph.cuttable_share, 1)} of the parameters"),
        ]
    lines += _facts(facts)
    if not node.path:
        said = [*notes, *plan.notes]
        if plan.graph.unreached:
            said.append(f"No forward pass used {', '.join(plan.graph.unreached)}.")
        for note in said:
            lines += [(), *_said(note, width)]
    return tuple(lines)


def _facts(facts: list[tuple[str, str]]) -> list[Line]:
    column = max(len(name) for name, _ in facts) + 2
    column = max(column, 14)
    return [
        (Cell(left(name, column), "dim"), Cell(value, "changed" if "→" in value else "plain")) for name, value in facts
    ]


def _ratio(layer: "LayerPlan", scope: str) -> str:
    if layer.locked:
        return "locked"
    if layer.own_ratio:
        return f"{share(layer.ratio, 1)}, its own"
    return f"{share(layer.ratio, 1)}" + (" of all channels together" if scope == "global" else "")


def _locks(layer: "LayerPlan", group: "Group", width: int) -> list[Line]:
    lines: list[Line] = []
    held = int(group.locked.sum())
    if layer.locked and not group.locks:
        lines += [(), (Cell("Locked", "strong"), Cell(f"  {layer.locked}"))]
    for lock in group.locks:
        part = "" if held in (0, group.width) else f"  ({held} of {group.width} channels)"
        lines += [(), (Cell("Locked", "strong"), Cell(f"  {lock.words}{part}"))]
        if lock.where:
            lines += [(Cell(f"  {piece}", "code"),) for piece in wrap(lock.where, width - 4)]
    if group.locks and group.liftable:
        lines += _said("Nothing in the model needs these channels: L lifts the lock, on purpose.", width)
    return lines


def _blocks(group: "Group", width: int) -> list[Line]:
    if not group.blocked:
        return []
    lines: list[Line] = [(), (Cell("Blocks", "strong"), Cell(f"  {', '.join(group.blocks)}"))]
    for cells in group.families:
        sizes = sorted({len(cell) for cell in cells})
        each = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        if len(cells) > 1:
            lines += _said(f"{len(cells)} blocks of {each} channels; as many must stay in each of them.", width)
    return lines


def _members(group: "Group", layer: str, width: int) -> list[Line]:
    lines: list[Line] = []
    for role, heading in ROLES.items():
        members = [member for member in group.members if member.role == role]
        if members:
            lines += [(), (Cell(heading, "strong"),), *_table(members, layer, width)]
    return lines


def _table(members: "list[Member]", layer: str, width: int) -> list[Line]:
    names = min(max(len(member.layer) for member in members), max(12, width // 2))
    kinds = max(len(member.kind) for member in members)
    lines: list[Line] = []
    for member in members:
        mark = "▸" if member.layer == layer else " "
        room = width - names - kinds - 8
        why = left(member.why, min(room, len(member.why))) if room >= 8 else ""
        name = Cell(f"{mark} {left(member.layer, names)}", "plain")
        lines.append((name, Cell(f"  {left(member.kind, kinds)}  ", "dim"), Cell(why, "dim")))
    return lines


def _said(words: str, width: int) -> list[Line]:
    return [(Cell(piece, "dim"),) for piece in wrap(words, width - 2)]
