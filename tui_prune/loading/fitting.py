"""Whether weights fit a network: all of them are loaded, or none and the misfits are named. And putting tensors in the
place of a module's parameters and buffers."""

import copy
import re
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tui_prune.errors import Remedy, TuiPruneError, ordinary_errors

_NAMED = 3
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
"""Names in torchvision's own files of densenets, which torchvision changes while it loads them."""
_MAY_BE_MISSING = "num_batches_tracked"


@dataclass(frozen=True)
class Mismatch:
    """How weights and a network differ. Truthy when they do."""

    missing: tuple[str, ...] = ()
    """In the network and not in the file."""
    unexpected: tuple[str, ...] = ()
    """In the file and not in the network."""
    misshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()
    """Name, shape in the file, shape in the network."""

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshaped)

    def __str__(self) -> str:
        """The differences in words: the first few names of each kind, then a count."""
        parts = []
        if self.missing:
            parts.append(f"it lacks {_listed(self.missing)}")
        if self.unexpected:
            parts.append(f"it has {_listed(self.unexpected)} too many")
        if self.misshaped:
            shapes = [
                f"{name} ({shape_text(own)} instead of {shape_text(wanted)})" for name, own, wanted in self.misshaped
            ]
            parts.append(f"it has another shape of {_listed(shapes)}")
        return "; ".join(parts)


class WeightsMismatchError(TuiPruneError):
    """Weights that don't fit a network; none of them was loaded."""

    def __init__(self, source: str, network: str, mismatch: Mismatch) -> None:
        self.mismatch = mismatch
        super().__init__(
            f"The weights in {source} don't fit {network}, so none were loaded: {mismatch}.",
            remedies=[Remedy.OWN_CODE, Remedy.OTHER],
        )


def fit(module: nn.Module, state: Mapping[str, Tensor], *, source: str, network: str) -> dict[str, Tensor]:
    """`state` under the names of `module`, complete and with the right shapes.

    Prefixes may differ and counts of batches may be missing; names of older versions are taken where the module
    itself knows how to read them. The module isn't changed.

    Raises `WeightsMismatchError` otherwise.
    """
    wanted = module.state_dict()
    tensors = _renamed(state, wanted)
    for name, own in wanted.items():
        if name.endswith(_MAY_BE_MISSING) and name not in tensors and isinstance(own, Tensor) and not own.is_meta:
            tensors[name] = own
    mismatch = compare(tensors, wanted)
    if not mismatch:
        return tensors
    translated = _by_own_rules(module, tensors)
    if translated is not None and not compare(translated, wanted):
        return translated
    raise WeightsMismatchError(source, network, mismatch)


def load_weights(module: nn.Module, state: Mapping[str, Tensor], *, source: str, network: str) -> None:
    """Copy `state` into `module`, all of it or nothing. Raises `WeightsMismatchError` when it doesn't fit."""
    fitted = OrderedDict(fit(module, state, source=source, network=network))
    vars(fitted)["_metadata"] = getattr(module.state_dict(), "_metadata", None)
    module.load_state_dict(fitted, strict=False)


def compare(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Mismatch:
    """How `tensors` and the state dict of a network differ in names and shapes."""
    return compare_shapes(
        {name: tuple(tensor.shape) for name, tensor in tensors.items()},
        {name: tuple(tensor.shape) for name, tensor in wanted.items() if isinstance(tensor, Tensor)},
    )


def compare_shapes(own: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> Mismatch:
    """How the shapes by name in a file and in a network differ."""
    return Mismatch(
        missing=tuple(name for name in wanted if name not in own),
        unexpected=tuple(name for name in own if name not in wanted),
        misshaped=tuple(
            (name, shape, wanted[name]) for name, shape in own.items() if name in wanted and shape != wanted[name]
        ),
    )


def shape_text(shape: Collection[int]) -> str:
    """A shape as people write it: 64x3x7x7."""
    return "x".join(map(str, shape)) if shape else "one number"


def common_prefixes(names: Collection[str]) -> list[str]:
    """What all names start with, up to each dot: "model." and "model.net." of "model.net.a" and "model.net.b"."""
    parts = [name.split(".")[:-1] for name in names]
    prefixes: list[str] = []
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        prefixes.append(f"{prefixes[-1] if prefixes else ''}{column[0]}.")
    return prefixes


def _renamed(state: Mapping[str, Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
    """With a prefix less or more, or other names of old, if then more names are known to the network."""
    candidates = [
        dict(state),
        {name.replace("module.", ""): tensor for name, tensor in state.items()},
        {_OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in state.items()},
    ]
    for prefix in common_prefixes(state):
        candidates.append({name.removeprefix(prefix): tensor for name, tensor in state.items()})
    for prefix in common_prefixes(wanted):
        candidates.append({prefix + name: tensor for name, tensor in state.items()})
    return max(candidates, key=lambda candidate: len(candidate.keys() & wanted))


def _by_own_rules(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """What a copy of the module makes of the tensors: some modules know the names of their older versions."""
    try:
        with ordinary_errors():
            trial = copy.deepcopy(module).to("meta")
            missing, unexpected = trial.load_state_dict(tensors, strict=False, assign=True)
    except Exception:  # by rules of a module that we don't know
        return None
    if missing or unexpected:
        return None
    return {name: tensor for name, tensor in trial.state_dict().items() if isinstance(tensor, Tensor)}


def _listed(names: Collection[str]) -> str:
    first = ", ".join(list(names)[:_NAMED])
    return f"{first} and {len(names) - _NAMED} more" if len(names) > _NAMED else first


def named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """All parameters and buffers by all their names: tied ones, and buffers that no state dict has, too."""
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def device_of(module: nn.Module) -> torch.device:
    """Where its first tensor is; the CPU where it has none."""
    return next((tensor.device for _, tensor in named_tensors(module)), torch.device("cpu"))


def replace_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Make `tensors` the parameters and buffers of `module` under their names, of whatever shape they are.

    They go to the device of what they replace, or stay where they are if that has no values. What was one parameter
    under several names stays one. Floating-point parameters want gradients.
    """
    replaced: dict[Tensor, Tensor] = {}
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        owner = module.get_submodule(path)
        old = getattr(owner, leaf)
        if old not in replaced:
            if not old.is_meta:
                tensor = tensor.to(old.device)
            wants_gradient = tensor.is_floating_point() or tensor.is_complex()
            replaced[old] = nn.Parameter(tensor, wants_gradient) if isinstance(old, nn.Parameter) else tensor
        setattr(owner, leaf, replaced[old])
