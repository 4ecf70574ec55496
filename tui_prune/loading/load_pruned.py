"""A ready module from a pruned checkpoint, without tracing."""

from torch import nn

from tui_prune.archives.origin import FILE
from tui_prune.archives.pruned_file import Checkpoint
from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.loading.building import build
from tui_prune.loading.edits import apply_edits, check_edits
from tui_prune.loading.fitting import compare_shapes, named_tensors, replace_tensors
from tui_prune.loading.kept import cut_shape, missing_positions
from tui_prune.loading.plain_module import plain_module
from tui_prune.loading.removed import inside_removed
from tui_prune.loading.sources.registry import SOURCES


def load_pruned(checkpoint: Checkpoint, model: nn.Module | None = None) -> nn.Module:
    """The cut network in eval mode on the CPU, its floating-point parameters ready to be trained.

    torchvision's, timm's and bundled networks are built here. Any other network is the user's: `model` is a fresh one,
    which is cut in place and returned.

    Raises `UsageError` when a network of the user's is needed and not passed; `TuiPruneError` when the checkpoint
    doesn't fit the network, with what differs. `model` is unchanged then.
    """
    network = _uncut(checkpoint) if model is None else plain_module(model, needs_values=False)
    _check_shapes(checkpoint, network)
    check_edits(network, checkpoint.edits)
    apply_edits(network, checkpoint.edits)
    replace_tensors(network, checkpoint.tensors)
    without_values = [name for name, tensor in named_tensors(network) if tensor.is_meta]
    if without_values:
        raise TuiPruneError(f"{checkpoint.path} has no values for {without_values[0]}. Save it again.")
    return network.eval()


def _uncut(checkpoint: Checkpoint) -> nn.Module:
    origin = checkpoint.origin
    if origin.buildable:
        return build(origin, "meta")
    if origin.kind == FILE:
        factory = origin.name.rpartition(":")[2]
        made = f"{factory}() of {origin.title.rpartition(':')[0]}"
        example, spec = f"model={factory}()", origin.title
    else:
        made, example, spec = f"the class {origin.name}", f"model={origin.title}(...)", "file.py:factory"
    raise UsageError(
        f"{checkpoint.path} holds a network of your own, {made}. A checkpoint never runs code that it names, so pass "
        f'the network: load("{checkpoint.path}", {example}) in Python, or --model {spec} on the command line.'
    )


def _check_shapes(checkpoint: Checkpoint, network: nn.Module) -> None:
    shapes = {
        name: tuple(tensor.shape)
        for name, tensor in named_tensors(network)
        if not inside_removed(name, checkpoint.edits)
    }
    left_out = shapes.keys() - checkpoint.tensors.keys() - network.state_dict().keys()
    mismatch = compare_shapes(
        {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()},
        {name: cut_shape(name, shape, checkpoint.kept) for name, shape in shapes.items() if name not in left_out},
    )
    problem = str(mismatch) if mismatch else missing_positions(shapes, checkpoint.kept)
    if problem:
        raise TuiPruneError(
            f"{checkpoint.path} was not made from {_described(checkpoint, network)}: {problem}."
            f"{_other_version(checkpoint)}"
        )


def _described(checkpoint: Checkpoint, network: nn.Module) -> str:
    return checkpoint.origin.title if checkpoint.origin.buildable else f"this {type(network).__name__}"


def _other_version(checkpoint: Checkpoint) -> str:
    package = checkpoint.origin.kind
    version = SOURCES[package].version if package in SOURCES else None
    if version is None:
        return ""
    saved, here = checkpoint.versions.get(package), version()
    return "" if saved == here else f" It was saved with {package} {saved}; this is {package} {here}."
