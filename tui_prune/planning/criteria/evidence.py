"""What a criterion may look at: a group, the tensors that speak of it, and what calibration data has shown."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from tui_prune.graph.graph import Graph, Group
from tui_prune.graph.record import BATCH_NORM, Axis, owner_of
from tui_prune.planning.criteria.moments import Moments


class Part(NamedTuple):
    """What one layer says of a group's channels."""

    layer: str
    values: np.ndarray
    """One score for each of the layer's outputs (or inputs); higher is more important."""
    places: np.ndarray
    """For each of them its position among the group's channels; negative: it belongs to another group."""


@dataclass(frozen=True, eq=False)
class Gathered:
    """What a network has shown on calibration data; gathered once for a network and a task."""

    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By layer: mean size of each of its inputs, shape (inputs,)."""
    outputs: Mapping[tuple[str, int], np.ndarray] = field(default_factory=dict)
    """By tensor and dimension of a producer's axis: mean size of each output, shape (outputs,)."""
    input_variances: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By layer: variance of each of its inputs, shape (inputs,)."""
    output_variances: Mapping[tuple[str, int], np.ndarray] = field(default_factory=dict)
    """By tensor and dimension of a producer's axis: variance of each output, shape (outputs,)."""
    gradients: Mapping[tuple[str, int], np.ndarray] = field(default_factory=dict)
    """By tensor and dimension of a producer's axis: mean over the batches of (sum of weight times gradient)², one value
    for each output, shape (outputs,)."""
    sample_gradients: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By layer: for each single input of the network the sum of value times gradient over what each of the layer's
    inputs reads, shape (samples, inputs)."""
    own_sample_gradients: Mapping[tuple[str, int], np.ndarray] = field(default_factory=dict)
    """By tensor and dimension of a producer's axis: the same of its outputs, where no layer reads them."""
    dead: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int8))
    """For each slot of the trace: 1 for an input of a layer that is one number whatever the network is given, and that
    the layer can take up; -1 for what can't go without a change; 0: it says nothing."""
    moments: Mapping[str, Moments] = field(default_factory=dict)
    """By weight: second moments of what its layer reads."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """A group with what speaks of it. Nothing here is a copy of a weight."""

    graph: Graph
    group: Group
    model: nn.Module
    """The graph's network, or what stands in for it."""
    seed: int = 0
    gathered: Gathered = field(default_factory=Gathered)
    known: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)
    """Scores that this criterion has given to weights before, by tensor and dimension."""

    def producers(self) -> Iterable[tuple[Axis, np.ndarray]]:
        """For each producer: the axis of its outputs, and the group position of each output."""
        channel, position = self.graph.classes.channel, self._positions()
        for axis in self.graph.producers[self.group.index]:
            yield axis, position[channel[axis.slots]]

    def weights(self, score: Callable[[Tensor], np.ndarray]) -> list[Part]:
        """What a function says of each producer's weight, which it is given as (outputs, all else)."""
        found = []
        for axis, places in self.producers():
            key, layer = (axis.tensor, axis.dim), owner_of(axis.tensor)
            if key not in self.known:
                self.known[key] = score(_rows(_effective_weight(self.model, axis.tensor, layer), axis))
            found.append(Part(layer, self.known[key], places))
        return found

    def all_weights(self, score: Callable[[Tensor], np.ndarray]) -> list[Part]:
        """What a function says of every weight that the channels go through, whether they are its outputs, its inputs
        or what it scales; it is given each as (channels, all else). Biases aren't among them."""
        channel, position = self.graph.classes.channel, self._positions()
        found = []
        for axis in self.graph.parameter_axes[self.group.index]:
            key, layer = (axis.tensor, axis.dim), owner_of(axis.tensor)
            if "bias" in axis.tensor.rpartition(".")[2]:
                continue
            if key not in self.known:
                self.known[key] = score(_rows(_effective_weight(self.model, axis.tensor, layer), axis))
            found.append(Part(layer, self.known[key], position[channel[axis.slots]]))
        return found

    def batch_norm_scales(self) -> list[tuple[str, Tensor, np.ndarray]]:
        """For each batch norm over the group's channels: its layer, |scale|, the group position of each scale."""
        channel, position = self.graph.classes.channel, self._positions()
        found = []
        for name, use in self.graph.record.layers.items():
            if use.kind == BATCH_NORM and use.outputs is not None:
                scale = getattr(self.model.get_submodule(name), "weight", None)
                places = position[channel[use.outputs.numpy()]]
                if scale is not None and (places >= 0).any():
                    found.append((name, scale.detach().abs(), places))
        return found

    def gradients(self) -> list[Part]:
        """What calibration data has shown of each producer's outputs (`Gathered.gradients`)."""
        return [
            Part(owner_of(axis.tensor), self.gathered.gradients[axis.tensor, axis.dim], places)
            for axis, places in self.producers()
            if (axis.tensor, axis.dim) in self.gathered.gradients
        ]

    def read_activations(self) -> list[Part]:
        """Mean sizes of the inputs of each layer that reads the group's channels."""
        return self._read(self.gathered.inputs)

    def read_variances(self) -> list[Part]:
        """Variances of the inputs of each layer that reads the group's channels."""
        return self._read(self.gathered.input_variances)

    def _read(self, shown: Mapping[str, np.ndarray]) -> list[Part]:
        """What calibration data has shown of the inputs of each layer that reads the group's channels."""
        position, found = self._positions(), []
        for member in self.group.members:
            layer, values = self.graph.layer(member.layer), shown.get(member.layer)
            if member.role != "consumer" or layer is None or values is None:
                continue
            if values.shape[-1] == len(layer.inputs):
                found.append(Part(member.layer, values, position[layer.inputs]))
        return found

    def own_activations(self) -> list[Part]:
        """Mean sizes of the outputs of each producer."""
        return self._own(self.gathered.outputs)

    def own_variances(self) -> list[Part]:
        """Variances of the outputs of each producer."""
        return self._own(self.gathered.output_variances)

    def _own(self, shown: Mapping[tuple[str, int], np.ndarray]) -> list[Part]:
        return [
            Part(owner_of(axis.tensor), shown[axis.tensor, axis.dim], places)
            for axis, places in self.producers()
            if (axis.tensor, axis.dim) in shown
        ]

    def read_sample_gradients(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each layer that reads the group's channels: (samples, inputs) of `Gathered.sample_gradients`, and the
        group position of each input. Where none does, the same of the outputs of each producer."""
        read = self._read(self.gathered.sample_gradients)
        return [(part.values, part.places) for part in read or self._own(self.gathered.own_sample_gradients)]

    def moments(self) -> list[tuple[Moments, np.ndarray]]:
        """For each layer that reads the group's channels: its moments, and the group position of each column."""
        position, channel = self._positions(), self.graph.classes.channel
        found = ((one, position[channel[one.slots]]) for one in self.gathered.moments.values())
        return [(one, places) for one, places in found if (places >= 0).any()]

    def covered(self, parts: Iterable[Part]) -> bool:
        """Whether every channel of the group has a score."""
        known = np.zeros(len(self.group.channels), bool)
        for part in parts:
            known[part.places[part.places >= 0]] = True
        return bool(known.all())

    def _positions(self) -> np.ndarray:
        """For each channel of the graph its position in the group, or -1."""
        position = np.full(self.graph.classes.channels, -1)
        position[self.group.channels] = np.arange(len(self.group.channels))
        return position


def _rows(weight: Tensor, axis: Axis) -> Tensor:
    """A weight as one row for each output."""
    if axis.groups > 1:
        # A transposed grouped weight, (in, out / groups, ...): outputs lie along groups and dimension 1.
        parts = weight.reshape(axis.groups, -1, *weight.shape[1:]).transpose(1, 2)
        return parts.reshape(axis.size, -1)
    return weight.movedim(axis.dim, 0).reshape(axis.size, -1)


def _effective_weight(model: nn.Module, tensor: str, layer: str) -> Tensor:
    """The parameter itself, or what the module computes from it (weight norm and other parametrizations, masks)."""
    if ".parametrizations." in tensor:
        name = tensor.partition(".parametrizations.")[2].partition(".")[0]
        return getattr(model.get_submodule(layer), name).detach()
    module = model if layer == tensor else model.get_submodule(layer)
    base = tensor.rpartition(".")[2].removesuffix("_orig").removesuffix("_mask")
    mask = getattr(module, f"{base}_mask", None)
    if isinstance(mask, Tensor) and isinstance(getattr(module, f"{base}_orig", None), Tensor):
        return getattr(module, f"{base}_orig").detach() * mask  # as torch.nn.utils.prune keeps them
    return getattr(module, tensor.rpartition(".")[2]).detach()
