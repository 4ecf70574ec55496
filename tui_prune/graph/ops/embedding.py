"""Looking rows up by number."""

from typing import TYPE_CHECKING

from tui_prune.graph.labels import Labels, compact, spread
from tui_prune.graph.record import LayerUse
from tui_prune.graph.registry import Call, rule

if TYPE_CHECKING:
    from tui_prune.graph.tracer import Tracer


@rule("embedding")
def embedding(tracer: "Tracer", call: Call) -> None:
    """Columns of the table label the last dimension of the output; rows are chosen by number and stay."""
    table, out = call.arg("weight"), call.out
    tracer.lock_all([call.arg("indices")], "these values are used as positions")
    labels: Labels = {}
    columns = None
    name = tracer.leaf(table)
    layer = tracer.layer_of(name) if name is not None else "(computed weight)"
    for dims, label in tracer.labels(table).items():
        if dims == (1,):
            columns = compact(label, dims)
            tracer.produce(tracer.axis_of(columns), layer)
            last = (out.dim() - 1,)
            labels[last] = spread(columns, last, out.shape)
        else:
            tracer.lock_label(label, dims, "rows are looked up by their number")
    tracer.put(out, labels)
    if name is not None:
        use = LayerUse(layer, "embedding", columns, None, table.shape[1], table.shape[0], True)
        tracer.record.layers.setdefault(layer, use)
