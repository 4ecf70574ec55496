"""Write what the bare app shows: the rows of the app's tree and table for a network, as it is and with more cut.

python -m tests.benchmarks.bare_rows MODEL INPUT FILE.json
"""

import json
import sys
from pathlib import Path
from typing import Any

from tui_prune.app.outline import outline, rows
from tui_prune.formatting import change, count, share
from tui_prune.planning.plan import Plan
from tui_prune.session.session import Session

STEP = 0.05


def main() -> None:
    model, input_spec, file = sys.argv[1:]
    session = Session.open(model, input_spec=input_spec or None)
    steps = [session.plan]
    steps += [session.set_ratio(round(STEP * step, 4)) for step in range(1, 5)]
    Path(file).write_text(json.dumps([shown(session, plan) for plan in steps]))


def shown(session: Session, plan: Plan) -> dict[str, Any]:
    """The tree (depth, text) and the table (cells) of a plan."""
    modules = [(name, type(module).__name__) for name, module in session.opened.module.named_modules()]
    root = outline(session.opened.title, modules, plan.layers)
    layers = {layer.name: layer for layer in plan.layers}
    longest = max(len(row.node.label) + 2 * row.depth for row in rows(root))
    tree = []
    for row in rows(root):
        layer = layers.get(row.node.path) if row.node.layer else None
        name = row.node.label.ljust(longest - 2 * row.depth)
        said = f"{layer.kind:<12} {change(str(layer.before), str(layer.after))}" if layer else row.node.class_name
        tree.append((row.depth, f"{name} {said}"))
    table = [
        (
            layer.name,
            change(str(layer.before), str(layer.after)),
            change(*map(count, layer.params)),
            change(*map(count, layer.macs)),
            share(layer.before - layer.after, layer.before),
        )
        for layer in plan.layers
        if layer.producer
    ]
    return {"tree": tree, "table": table}


if __name__ == "__main__":
    main()
