"""What a network shows on the task's calibration data, for the criteria that need to know."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tui_prune.errors import TuiPruneError, UsageError
from tui_prune.graph.graph import Graph
from tui_prune.graph.nested import map_tensors, tensors_in
from tui_prune.graph.record import Axis, owner_of
from tui_prune.graph.trace import untouched
from tui_prune.planning.criteria import Gathered, Needs
from tui_prune.progress import Progress, silent
from tui_prune.tasks.batches import Batch, calibration_batches, forward
from tui_prune.tasks.inputs import joined
from tui_prune.tasks.task import Task, guess

Loss = Callable[[Any, Any], Tensor]

_Key = str | tuple[str, int]
"""A layer, for its inputs; tensor and dimension of a producer's axis, for its outputs."""

MOST_SAMPLES = 1024
"""Inputs whose gradients are looked at one by one, or a few more."""


def gather(graph: Graph, needs: Needs, task: Task, progress: Progress = silent) -> Gathered:
    """Run the task's calibration data through the graph's network and note what a criterion needs: "activations",
    "gradients" or "sample gradients" (moments: `recovery.moments`). The network stays as it was.

    Raises `UsageError` when there are no batches or no loss can be told, `TuiPruneError` when its code, the network or
    the loss fails.
    """
    with untouched(graph.model) as model:
        watch: _Watch
        if needs == "activations":
            watch = _Activations(graph, model)
        else:
            watch = (_Gradients if needs == "gradients" else _SampleGradients)(graph, model, task)
        with watch.watching():
            for number, batch in enumerate(calibration_batches(task, model)):
                progress("calibrate", guess(number))
                watch.run(batch)
    progress("calibrate", 1.0)
    return watch.gathered()


def checked_calibration(task: Task | None) -> Task:
    """The task, if it has calibration data. Raises `UsageError` where there is none."""
    if task is None or task.calibration is None:
        what = "a task file (--task FILE.py) with a function" if task is None else f"{task.name} a function"
        raise UsageError(f"This criterion needs calibration data: give {what} calibration() that yields batches.")
    return task


class _Watch:
    """Something to be noted of a network while batches run through what stands in for it."""

    def watching(self) -> AbstractContextManager[None]:
        """The time in which batches are run."""
        raise NotImplementedError

    def run(self, batch: Batch) -> None:
        raise NotImplementedError

    def gathered(self) -> Gathered:
        raise NotImplementedError

    def __init__(self, graph: Graph, model: nn.Module) -> None:
        self.batches = 0
        self._graph, self._model = graph, model
        self._modules = dict(model.named_modules())
        self._putting_out: dict[str, tuple[str, int]] = {}
        """Tensor and dimension of the axis that a module's outputs are, by module, where they are linear in it."""
        for axis in graph.record.producers:
            for name in graph.record.names_of(axis.tensor):
                module = self._modules.get(owner_of(name))
                if module is not None and _output_axis(module) == axis.dim:
                    self._putting_out[owner_of(name)] = axis.tensor, axis.dim


class _Activations(_Watch):
    """Mean |value| of each input of every layer with weights, and of each output of those that put channels out."""

    def __init__(self, graph: Graph, model: nn.Module) -> None:
        super().__init__(graph, model)
        self._inputs: dict[str, _Mean] = {}
        self._outputs: dict[tuple[str, int], _Mean] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        with ExitStack() as hooks:
            for layer in self._graph.layers:
                module = self._modules.get(layer.name)
                if layer.producer and module is not None:
                    mean = self._inputs[layer.name] = _Mean()
                    hook = module.register_forward_pre_hook(mean.of_inputs, with_kwargs=True)
                    hooks.callback(hook.remove)
            for name, key in self._putting_out.items():
                mean = self._outputs.setdefault(key, _Mean())
                hook = self._modules[name].register_forward_hook(mean.of_output)
                hooks.callback(hook.remove)
            yield

    def run(self, batch: Batch) -> None:
        forward(self._model, batch)
        self.batches += 1

    def gathered(self) -> Gathered:
        return Gathered(
            inputs={name: mean.values() for name, mean in self._inputs.items() if mean.count},
            outputs={key: mean.values() for key, mean in self._outputs.items() if mean.count},
            input_variances={name: mean.variances() for name, mean in self._inputs.items() if mean.count},
            output_variances={key: mean.variances() for key, mean in self._outputs.items() if mean.count},
        )


class _Mean:
    """Mean |value| and variance of each channel of what a layer has been given, or has given back."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = torch.zeros(0, dtype=torch.float64)
        self._mean = self._squares = self._sum

    def of_inputs(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._add(module, (args, tuple(kwargs.values())))

    def of_output(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self._add(module, output)

    def _add(self, module: nn.Module, values: Any) -> None:
        value = next((tensor for tensor in tensors_in(values) if tensor.is_floating_point()), None)
        dim = None if value is None else _channel_dim(module, value)
        if value is None or dim is None:
            return
        rows = value.detach().movedim(dim, 0).flatten(1).float()
        sums = rows.abs().sum(1).cpu().double()
        if (self.count and self._sum.shape != sums.shape) or not rows.numel():
            return
        variance, mean = (found.cpu().double() for found in torch.var_mean(rows, 1, correction=0))
        if not self.count:
            self._sum, self._mean, self._squares = (
                torch.zeros_like(sums),
                torch.zeros_like(mean),
                torch.zeros_like(mean),
            )
        # Means and squares of two samples as one (Chan et al. 1983).
        added, total = rows.shape[1], self.count + rows.shape[1]
        step = mean - self._mean
        self._squares = self._squares + variance * added + step.square() * (self.count * added / total)
        self._mean = self._mean + step * (added / total)
        self._sum = self._sum + sums
        self.count = total

    def values(self) -> np.ndarray:
        return (self._sum / self.count).numpy()

    def variances(self) -> np.ndarray:
        return (self._squares / self.count).numpy()


class _Gradients(_Watch):
    """Mean over the batches of (sum of weight times gradient)² for each output of every producer.

    Where a layer's output is linear in its weights and bias, their sum is the gradient of a gate of one that the output
    is multiplied with, however the weights are computed. Other weights (of attention, embeddings of positions) are
    multiplied with their own gradient.
    """

    def __init__(self, graph: Graph, model: nn.Module, task: Task) -> None:
        super().__init__(graph, model)
        self._task = task
        self._sums: dict[tuple[str, int], np.ndarray] = {}
        self._gates: dict[tuple[str, int], Tensor] = {}
        self._parameters: dict[str, nn.Parameter] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        names = {axis.tensor for axis in self._graph.record.producers}
        named = self._model.named_parameters(remove_duplicate=False)
        self._parameters = {name: parameter for name, parameter in named if name in names}
        wanted = [(p, p.requires_grad) for p in self._parameters.values() if not p.is_inference()]
        with ExitStack() as hooks:
            for name, key in self._putting_out.items():
                hook = self._modules[name].register_forward_hook(self._gating(key))
                hooks.callback(hook.remove)
            try:
                for parameter, _ in wanted:
                    parameter.requires_grad_(True)
                yield
            finally:
                for parameter, before in wanted:
                    parameter.requires_grad_(before)

    def _gating(self, key: tuple[str, int]) -> Callable[..., Any]:
        def gate(module: nn.Module, args: Any, output: Any) -> Any:
            dim = _channel_dim(module, output) if isinstance(output, Tensor) else None
            if dim is None:
                return None
            if key not in self._gates:
                self._gates[key] = torch.ones(output.shape[dim], device=output.device, dtype=output.dtype)
                self._gates[key].requires_grad_(True)
            shape = [1] * output.dim()
            shape[dim] = -1
            return output * self._gates[key].view(shape)

        return gate

    @torch.enable_grad()
    def run(self, batch: Batch) -> None:
        self._gates.clear()
        loss = self._loss(forward(self._model, batch), batch.targets)
        weights = {(a.tensor, a.dim): a for a in self._graph.record.producers
                   if (a.tensor, a.dim) not in self._gates and a.tensor in self._parameters}  # fmt: skip
        wanted = [*self._gates.values(), *(self._parameters[axis.tensor] for axis in weights.values())]
        found = self._follow_back(loss, wanted)
        for key, gradient in zip([*self._gates, *weights], found, strict=True):
            if gradient is not None:
                own = gradient if key in self._gates else _along(gradient * self._parameters[key[0]], weights[key])
                squares = own.detach().double().cpu().numpy() ** 2
                self._sums[key] = self._sums.get(key, 0.0) + squares
        self.batches += 1

    def _loss(self, output: Any, targets: Any) -> Tensor:
        if self._task.loss is not None:
            with self._task.own_errors("in loss(output, targets)"):
                loss = self._task.loss(output, targets)
        else:
            loss = self._cross_entropy(output, targets)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise TuiPruneError(f"loss(output, targets) of {self._task.name} should return a tensor of one number.")
        if not loss.requires_grad:
            raise TuiPruneError("The loss doesn't follow from the network's weights in a way that has a gradient.")
        return loss.reshape(())

    def _cross_entropy(self, output: Any, targets: Any) -> Tensor:
        """Of the class scores with the targets or, where there are none, with the classes that the network chooses."""
        scores = next((t for t in tensors_in(output) if t.is_floating_point()), None)
        if scores is None or scores.dim() < 2 or scores.shape[1] < 2:
            raise UsageError(
                "The network's output is not a score for each class, so this criterion needs a loss: give "
                f"{self._task.name} a function loss(output, targets)."
            )
        classes = scores.argmax(1) if targets is None else targets
        try:
            return F.cross_entropy(scores.float(), classes)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise UsageError(
                "The targets of calibration() are not the class numbers that cross-entropy takes "
                f"({str(error).partition(chr(10))[0]}); give {self._task.name} a function loss(output, targets)."
            ) from error

    def gathered(self) -> Gathered:
        found = {key: values / self.batches for key, values in self._sums.items()}
        self._check(found.values())
        return Gathered(gradients=found)

    def _follow_back(self, loss: Tensor, wanted: Sequence[Tensor]) -> Sequence[Tensor | None]:
        """The gradients of the loss; None where it doesn't depend on something."""
        try:
            return torch.autograd.grad(loss, wanted, allow_unused=True) if wanted else ()
        except RuntimeError as error:
            message = str(error).partition("\n")[0]
            raise TuiPruneError(f"The loss can't be followed back through the network: {message}") from error

    def _check(self, gradients: Iterable[np.ndarray]) -> None:
        if not any(np.any(values) for values in gradients):
            raise TuiPruneError(
                f"The loss on the calibration data of {self._task.name} has no gradient, so this criterion can't "
                "tell channels apart; give it a loss, or other data."
            )


class _SampleGradients(_Gradients):
    """For each input of the network the sum of value times gradient over what each input of each layer reads: the
    gradient of a gate of one that all of it is multiplied with."""

    def __init__(self, graph: Graph, model: nn.Module, task: Task) -> None:
        super().__init__(graph, model, task)
        self._opened: list[tuple[_Key, Tensor]] = []
        """Gates of the present batch."""
        self._found: dict[_Key, list[np.ndarray]] = {}
        self._samples = 0
        self._unread = {
            (axis.tensor, axis.dim)
            for group, axes in zip(graph.groups, graph.producers, strict=True)
            if not any(member.role == "consumer" for member in group.members)
            for axis in axes
        }
        """What no layer reads (queries and keys of an attention): there the outputs have gates."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        with ExitStack() as hooks:
            for layer in self._graph.layers:
                module = self._modules.get(layer.name)
                if layer.producer and module is not None:
                    hook = module.register_forward_pre_hook(self._gate(layer.name), with_kwargs=True)
                    hooks.callback(hook.remove)
            for name, key in self._putting_out.items():
                if key in self._unread:
                    hook = self._modules[name].register_forward_hook(self._gate_of_output(key))
                    hooks.callback(hook.remove)
            yield

    def _gate_of_output(self, key: tuple[str, int]) -> Callable[..., Any]:
        def gate(module: nn.Module, args: Any, output: Any) -> Any:
            dim = _channel_dim(module, output) if isinstance(output, Tensor) else None
            return self._gated(key, output, dim) if dim else None

        return gate

    def _gated(self, key: _Key, value: Tensor, dim: int) -> Tensor:
        shape = [len(value), *(1 for _ in value.shape[1:])]
        shape[dim] = value.shape[dim]
        own = torch.ones(shape, device=value.device, dtype=value.dtype, requires_grad=True)
        self._opened.append((key, own))
        return value * own

    def _gate(self, name: str) -> Callable[..., Any]:
        def gate(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            value = next((tensor for tensor in tensors_in((args, kwargs)) if tensor.is_floating_point()), None)
            dim = None if value is None else _channel_dim(module, value)
            if value is None or not dim:
                return None
            gated = self._gated(name, value, dim)
            return map_tensors((args, kwargs), lambda tensor: gated if tensor is value else tensor)

        return gate

    @torch.enable_grad()
    def run(self, batch: Batch) -> None:
        if self._samples >= MOST_SAMPLES:
            return
        self._opened.clear()
        count = max(1, joined([(batch.args, batch.kwargs)], 1).count)
        loss = self._loss(forward(self._model, batch), batch.targets)
        sums: dict[_Key, np.ndarray] = {}
        for (name, gate), gradient in zip(
            self._opened, self._follow_back(loss, [gate for _, gate in self._opened]), strict=True
        ):
            rows = torch.zeros_like(gate) if gradient is None else gradient
            own = _by_sample(rows.detach().double().cpu().flatten(1), count).numpy() * count
            if name not in sums or sums[name].shape == own.shape:
                sums[name] = sums.get(name, 0.0) + own
        for name, own in sums.items():
            self._found.setdefault(name, []).append(own)
        self._samples += count
        self.batches += 1

    def gathered(self) -> Gathered:
        every = max(map(len, self._found.values()), default=0)
        whole = {name: np.concatenate(parts) for name, parts in self._found.items() if len(parts) == every}
        self._check(whole.values())
        whole = {key: own for key, own in whole.items() if len(own) == self._samples}
        return Gathered(
            sample_gradients={key: own for key, own in whole.items() if isinstance(key, str)},
            own_sample_gradients={key: own for key, own in whole.items() if not isinstance(key, str)},
        )


def _by_sample(rows: Tensor, count: int) -> Tensor:
    """Rows summed by the network's inputs that they belong to; evenly dealt out where that can't be told."""
    if len(rows) % count == 0:
        return rows.unflatten(0, (count, -1)).sum(1)
    return rows.sum(0, keepdim=True).expand(count, -1) / count


def _along(products: Tensor, axis: Axis) -> Tensor:
    """The sum over all but one axis of a weight; of a grouped one over all groups' shares."""
    if axis.groups > 1:
        return products.reshape(axis.groups, -1, *products.shape[1:]).transpose(1, 2).reshape(axis.size, -1).sum(1)
    return products.movedim(axis.dim, 0).reshape(axis.size, -1).sum(1)


def _output_axis(module: nn.Module) -> int | None:
    """The dimension of a module's weight that its output's channels are, where its output is linear in the weight."""
    if isinstance(module, nn.modules.conv._ConvNd):
        return 1 if module.transposed else 0
    return 0 if isinstance(module, nn.Linear) else 1 if isinstance(module, nn.Embedding) else None


def _channel_dim(module: nn.Module, value: Tensor) -> int | None:
    """The dimension of a layer's input or output that its channels lie along; None: it has no such."""
    if isinstance(module, nn.modules.conv._ConvNd):
        dim = value.dim() - len(module.kernel_size) - 1
        return dim if dim >= 0 else None
    return value.dim() - 1 if value.dim() else None
