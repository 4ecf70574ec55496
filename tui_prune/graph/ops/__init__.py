"""What each kind of operator does to labels; importing this package registers all rules."""

from tui_prune.graph.ops import (
    attention,
    convolution,
    embedding,
    fourier,
    joining,
    matrix,
    movement,
    normalisation,
    pointwise,
    pooling,
    recurrent,
    reduction,
    writing,
)
from tui_prune.graph.ops.unknown import unknown

__all__ = [
    "attention",
    "convolution",
    "embedding",
    "fourier",
    "joining",
    "matrix",
    "movement",
    "normalisation",
    "pointwise",
    "pooling",
    "recurrent",
    "reduction",
    "unknown",
    "writing",
]
