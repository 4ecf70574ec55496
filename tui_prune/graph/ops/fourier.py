"""Fourier transforms, and complex numbers made of real ones and taken apart."""

from typing import TYPE_CHECKING

from torch import Tensor

from tui_prune.graph.labels import collapse
from tui_prune.graph.ops.pointwise import combine
from tui_prune.graph.ops.shared import tied_over
from tui_prune.graph.registry import Call, rule

if TYPE_CHECKING:
    from tui_prune.graph.tracer import Tracer


@rule("_fft_r2c", "_fft_c2c", "_fft_c2r")
def transform(tracer: "Tracer", call: Call) -> None:
    """Labels pass along all dimensions but those that are transformed."""
    x, out = call.arg("self"), call.out
    over = {d % x.dim() for d in call.arg("dim")}
    labels: list[Tensor] = []
    for dims, label in tracer.labels(x).items():
        if over.intersection(dims):
            tracer.lock_label(label, dims, "a Fourier transform mixes these channels")
        else:
            labels.append(collapse(label, dims).expand(out.shape))
    tracer.put(out, labels)


@rule("view_as_real", "view_as_real_copy")
def take_apart(tracer: "Tracer", call: Call) -> None:
    """Real and imaginary part of a number lie along a new last dimension, and go with it."""
    labels = tracer.labels(call.arg("self")).values()
    tracer.put(call.out, [label.unsqueeze(-1).expand(call.out.shape) for label in labels])


@rule("view_as_complex", "view_as_complex_copy")
def put_together(tracer: "Tracer", call: Call) -> None:
    """The two real numbers along the last dimension become one, and go together."""
    x = call.arg("self")
    labels: list[Tensor] = []
    for dims, label in tracer.labels(x).items():
        if x.dim() - 1 in dims:
            label = tied_over(tracer, label, dims, [x.dim() - 1], "is one complex number")
        labels.append(label.select(-1, 0))
    tracer.put(call.out, labels)


@rule("complex", "polar")
def join(tracer: "Tracer", call: Call) -> None:
    """Two tensors of real numbers, element by element."""
    tracer.put(call.out, combine(tracer, [call.args[0], call.args[1]], call.out, f"meets in {call.name}"))


@rule("_conj", "_neg_view", "conj", "resolve_conj", "resolve_neg", "_conj_copy", "_neg_view_copy")
def keep(tracer: "Tracer", call: Call) -> None:
    """The same numbers in the same places, with another sign."""
    tracer.put(call.out, tracer.labels(call.arg("self")))
